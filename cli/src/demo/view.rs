//! Where the traffic goes, for somebody who watches: a table that is drawn anew on a terminal, lines
//! elsewhere.
//!
//! Must never move the cursor where there is no terminal.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use weighbridge_dataplane::AccountTraffic;
use weighbridge_snapshot::ObjectName;

use crate::{output, table};

/// The view.
pub(super) struct View {
    is_terminal: bool,
    /// Lines of the table on the screen, above the cursor.
    drawn: usize,
    /// What was shown last.
    shown: String,
}

impl View {
    /// A view on standard output; nothing is drawn yet.
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            drawn: 0,
            shown: String::new(),
        }
    }

    /// Whether it is drawn on a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Leaves what is drawn where it is, because something else is about to be written.
    pub(super) fn leave(&mut self) {
        self.drawn = 0;
        self.shown.clear();
    }

    /// Shows the traffic.
    pub(super) fn draw(&mut self, accounts: &[AccountTraffic]) -> anyhow::Result<()> {
        let text = if self.is_terminal {
            as_table(accounts)
        } else {
            as_line(accounts)
        };
        if text == self.shown {
            return Ok(());
        }
        let lines = text.lines().count();
        // Up to the table's first line, and clear what is below.
        let back = match self.drawn {
            0 => String::new(),
            drawn => format!("\u{1b}[{drawn}A\u{1b}[J"),
        };
        output::say(&format!("{back}{text}"))?;
        if self.is_terminal {
            self.drawn = lines;
        }
        self.shown = text;
        Ok(())
    }
}

fn as_table(accounts: &[AccountTraffic]) -> String {
    let totals = totals(accounts);
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|account| {
            vec![
                account.provider.name.clone(),
                account.account.clone(),
                account.attempts.to_string(),
                share(account, &totals),
                account.failures.to_string(),
                account.state.to_string(),
            ]
        })
        .collect();
    let header = [
        "PROVIDER", "ACCOUNT", "REQUESTS", "SHARE", "FAILURES", "STATE",
    ];
    table::render(&header, &rows)
}

fn as_line(accounts: &[AccountTraffic]) -> String {
    let totals = totals(accounts);
    let parts: Vec<String> = accounts
        .iter()
        .map(|account| {
            format!(
                "{}/{} {} ({}, {} failed, {})",
                account.provider.name,
                account.account,
                account.attempts,
                share(account, &totals),
                account.failures,
                account.state
            )
        })
        .collect();
    format!("traffic: {}", parts.join("; "))
}

/// Requests by Provider: the accounts of one share its traffic.
fn totals(accounts: &[AccountTraffic]) -> BTreeMap<&ObjectName, u64> {
    let mut totals = BTreeMap::new();
    for account in accounts {
        *totals.entry(&account.provider).or_default() += account.attempts;
    }
    totals
}

/// The account's share of its Provider's requests, in percent with one decimal.
fn share(account: &AccountTraffic, totals: &BTreeMap<&ObjectName, u64>) -> String {
    let total = totals.get(&account.provider).copied().unwrap_or_default();
    match (account.attempts * 1000 + total / 2).checked_div(total) {
        None => "-".to_owned(),
        Some(permille) => format!("{}.{} %", permille / 10, permille % 10),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weighbridge_dataplane::AccountState;

    use super::*;

    fn account(provider: &str, name: &str, attempts: u64) -> AccountTraffic {
        AccountTraffic {
            provider: ObjectName::new("default", provider),
            account: name.to_owned(),
            attempts,
            failures: 0,
            state: AccountState::Usable,
        }
    }

    #[test]
    fn shares_are_of_the_providers_requests() {
        let mut accounts = vec![
            account("a", "x", 2),
            account("a", "y", 1),
            account("b", "z", 0),
        ];
        accounts[1].state = AccountState::CoolingDown(Duration::from_secs(3));
        accounts[1].failures = 1;
        let table = [
            "PROVIDER  ACCOUNT  REQUESTS  SHARE   FAILURES  STATE",
            "a         x        2         66.7 %  0         Usable",
            "a         y        1         33.3 %  1         CoolingDown 3.0 s",
            "b         z        0         -       0         Usable",
        ];
        assert_eq!(as_table(&accounts), table.join("\n"));
        assert_eq!(
            as_line(&accounts),
            "traffic: a/x 2 (66.7 %, 0 failed, Usable); a/y 1 (33.3 %, 1 failed, CoolingDown 3.0 s); b/z 0 (-, 0 failed, Usable)"
        );
    }
}
