//! The programs that the bench starts. Each is ended by its id when its [`Process`] goes out of scope,
//! also when the bench fails or is interrupted; none may outlive it.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How often a child is asked whether it has ended: rare enough to cost nothing beside a slice.
const POLL: Duration = Duration::from_millis(20);
/// Lines of a child's output that an error message quotes.
const QUOTED_LINES: usize = 15;

/// Where the programs are and which cores they run on.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The folder with the bench's programs.
    pub(crate) binaries: PathBuf,
    /// A core list for `taskset` per role, when pinned.
    pub(crate) cores: Option<CoreLists>,
}

/// Core lists as `taskset -c` reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoreLists {
    /// For the proxy that is measured.
    pub(crate) proxy: String,
    /// For upstream and load generator.
    pub(crate) others: String,
}

/// Which of the [`CoreLists`] a program belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The program whose cost is measured.
    Proxy,
    /// Upstream, load generator.
    Other,
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Launcher {
    /// A command for one of the bench's own programs.
    pub(crate) fn command(&self, program: &str, role: Role) -> Command {
        let path = self.binaries.join(program);
        let Some(cores) = &self.cores else {
            return Command::new(path);
        };
        let list = match role {
            Role::Proxy => &cores.proxy,
            Role::Other => &cores.others,
        };
        // taskset replaces itself with the program: the process id stays the same.
        let mut command = Command::new("taskset");
        command.arg("-c").arg(list).arg(path);
        command
    }
}

impl CoreLists {
    /// The first core for the proxy, all others for the rest.
    ///
    /// # Errors
    /// When there is one core only.
    pub(crate) fn split(cores: usize) -> anyhow::Result<Self> {
        match cores {
            0 | 1 => bail!("--pin needs at least two cores, here is {cores}"),
            2 => Ok(Self {
                proxy: "0".to_owned(),
                others: "1".to_owned(),
            }),
            _ => Ok(Self {
                proxy: "0".to_owned(),
                others: format!("1-{}", cores - 1),
            }),
        }
    }
}

impl Process {
    /// Starts `command`; its output, both streams, goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When the program isn't there.
    pub(crate) fn start(command: &mut Command, name: &str, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {command:?}: is it built?"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
        })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its output, when the process has ended.
    ///
    /// # Errors
    /// When it has.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.last_output()),
        }
    }

    /// Asks the process to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it hasn't within `limit`; it is then killed as the guard drops.
    pub(crate) async fn terminate(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        // `sh` has `kill` built in: no package is needed, and no unsafe code.
        let sent = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.id().to_string()])
            .status()?;
        if !sent.success() {
            bail!("cannot send SIGTERM to {}", self.name);
        }
        self.ended(limit).await
    }

    /// Waits until the process ends of itself.
    ///
    /// # Errors
    /// When it hasn't within `limit`.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} has not ended within {} s: {}",
                    self.name,
                    limit.as_secs(),
                    self.last_output()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Everything that the process has written so far.
    pub(crate) fn output(&self) -> String {
        let mut text = String::new();
        let read =
            std::fs::File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text));
        match read {
            Ok(_) => text,
            Err(error) => format!("(its output cannot be read: {error})"),
        }
    }

    /// The last lines of [`Self::output`], for an error message.
    pub(crate) fn last_output(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(QUOTED_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has been reaped already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port on loopback that was free a moment ago.
///
/// # Errors
/// When the system has none.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_gets_a_core_of_its_own() {
        let lists = |proxy: &str, others: &str| CoreLists {
            proxy: proxy.to_owned(),
            others: others.to_owned(),
        };
        assert_eq!(CoreLists::split(2).unwrap(), lists("0", "1"));
        assert_eq!(CoreLists::split(8).unwrap(), lists("0", "1-7"));
        assert!(CoreLists::split(1).is_err());
    }

    #[tokio::test]
    async fn a_terminated_process_reports_its_output_and_status() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec cat /dev/zero > /dev/null"]);
        let process = Process::start(&mut command, "shell", folder.path()).unwrap();
        while !process.output().contains("ready") {
            tokio::task::yield_now().await;
        }
        let status = process.terminate(Duration::from_secs(30)).await.unwrap();
        assert!(!status.success());
    }

    #[test]
    fn dropping_the_guard_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec cat /dev/zero > /dev/null"]);
        let process = Process::start(&mut command, "shell", folder.path()).unwrap();
        let directory = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(directory.exists());
        drop(process);
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn a_process_that_ended_early_is_reported_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such option >&2; exit 3"]);
        let mut process = Process::start(&mut command, "shell", folder.path()).unwrap();
        process.ended(Duration::from_secs(30)).await.unwrap();
        let message = process.check_running().unwrap_err().to_string();
        assert!(message.contains("no such option"), "{message}");
    }
}
