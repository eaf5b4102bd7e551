//! The compile: Providers, then the Routes that point to them, then the VirtualKeys that ask for those.
//!
//! Must never depend on anything but its two arguments, nor on the order in which they were filled.

use std::collections::{BTreeMap, BTreeSet};

use weighbridge_crds::{ProviderSpec, RouteSpec};
use weighbridge_snapshot::{ObjectName, Snapshot, TokenDigest, VirtualKey};

use crate::grants::NamespaceLabels;
use crate::judge::{Found, Judged, Spec, judge_all};
use crate::tokens::Claim;
use crate::virtual_key::{Reach, judge_keys};
use crate::{Condition, Good, Kind, LastGood, ObjectId, Reason, Verdict, World};
use crate::{provider, secrets, tokens};

/// The results of a compile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What a data plane is to serve.
    pub snapshot: Snapshot,
    /// What became of every object of the world.
    pub verdicts: BTreeMap<ObjectId, Verdict>,
    /// What the next compile is to be given.
    pub last_good: LastGood,
}

/// Compiles a world.
///
/// Guarantees: pure, total and deterministic. Every object of the world gets a verdict, and no object's
/// fault changes what another compiles to. Compiling the same world again with the returned
/// [`LastGood`] gives the same results.
pub fn compile(world: &World, last_good: &LastGood) -> Compiled {
    let mut pass = Pass {
        world,
        last_good,
        labels: NamespaceLabels::of(world),
        providers: BTreeMap::new(),
        used_providers: BTreeMap::new(),
        compiled: Compiled::default(),
    };
    pass.compile_providers();
    pass.compile_routes();
    pass.compile_virtual_keys();
    pass.compiled
}

/// One compile under way: what is given, what is found so far.
struct Pass<'a> {
    world: &'a World,
    last_good: &'a LastGood,
    labels: NamespaceLabels<'a>,
    providers: BTreeMap<ObjectName, provider::Resolved>,
    /// By Route: the Providers it points to and may use.
    used_providers: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    compiled: Compiled,
}

/// A VirtualKey whose token has been looked for, before it is decided whose the token is.
struct Claimant {
    name: ObjectName,
    verdict: Verdict,
    key: VirtualKey,
    secret: ObjectName,
    /// Whether it was accepted before.
    known: bool,
}

/// What became of a VirtualKey's claim to a Secret, and to the token in it.
enum Token {
    Found(TokenDigest),
    Missing(String),
    /// The Secret is this VirtualKey's.
    Taken(ObjectName),
}

impl Pass<'_> {
    fn compile_providers(&mut self) {
        let found = self.world.providers.iter().map(|(name, object)| Found {
            name,
            uid: object.metadata.uid.as_deref(),
            generation: object.metadata.generation,
            spec: Ok(&object.spec),
        });
        let goods = &self.last_good.providers;
        for (name, judged) in judge_all::<ProviderSpec>(found, &self.world.unreadable, goods) {
            let (mut verdict, draft) = begin(&name, judged, &mut self.compiled.last_good.providers);
            if let Some(draft) = draft {
                let mut resolved = draft.resolve(&name, self.world, &self.labels);
                verdict.resolved_refs = Condition::resolved(&resolved.missing);
                verdict.warnings = std::mem::take(&mut resolved.warnings);
                let snapshot = &mut self.compiled.snapshot;
                snapshot.credentials.append(&mut resolved.credentials);
                snapshot
                    .providers
                    .insert(name.clone(), resolved.provider.clone());
                self.providers.insert(name.clone(), resolved);
            }
            self.conclude(ObjectId::new(Kind::Provider, name), verdict);
        }
    }

    fn compile_routes(&mut self) {
        let found = self.world.routes.iter().map(|(name, object)| Found {
            name,
            uid: object.metadata.uid.as_deref(),
            generation: object.metadata.generation,
            spec: Ok(&object.spec),
        });
        let goods = &self.last_good.routes;
        for (name, judged) in judge_all::<RouteSpec>(found, &self.world.unreadable, goods) {
            let (mut verdict, draft) = begin(&name, judged, &mut self.compiled.last_good.routes);
            if let Some(draft) = draft {
                let resolved = draft.resolve(&name, &self.providers, &self.labels);
                verdict.resolved_refs = Condition::resolved(&resolved.missing);
                verdict.warnings = resolved.warnings;
                self.compiled
                    .snapshot
                    .routes
                    .insert(name.clone(), resolved.route);
                self.used_providers.insert(name.clone(), resolved.providers);
            }
            self.conclude(ObjectId::new(Kind::Route, name), verdict);
        }
    }

    fn compile_virtual_keys(&mut self) {
        let claimants = self.claimants();
        let tokens = self.tokens(&claimants);
        let claims = claimants
            .iter()
            .zip(&tokens)
            .filter_map(|(claimant, token)| match token {
                Token::Found(token) => Some((claimant.name.clone(), *token)),
                Token::Missing(_) | Token::Taken(_) => None,
            });
        let claims = claims.collect();
        self.compiled.last_good.tokens = tokens::owners(&claims, &self.last_good.tokens);
        for (claimant, token) in claimants.into_iter().zip(tokens) {
            match token {
                Token::Taken(owner) => self.turn_away(claimant, &owner),
                Token::Found(token) => self.settle(claimant, Ok(token)),
                Token::Missing(cause) => self.settle(claimant, Err(cause)),
            }
        }
    }

    /// Judges the VirtualKeys; those of which something is in force go on to claim their tokens.
    fn claimants(&mut self) -> Vec<Claimant> {
        let mut claimants = Vec::new();
        for (name, judged) in judge_keys(self.world, self.last_good) {
            let known = judged.known;
            let goods = &mut self.compiled.last_good.virtual_keys;
            match begin(&name, judged, goods) {
                (verdict, Some(draft)) => claimants.push(Claimant {
                    secret: draft.secret(&name),
                    name,
                    verdict,
                    key: draft.key,
                    known,
                }),
                (verdict, None) => self.conclude(ObjectId::new(Kind::VirtualKey, name), verdict),
            }
        }
        claimants
    }

    /// Looks for the claimants' tokens; one for each, in their order.
    fn tokens(&self, claimants: &[Claimant]) -> Vec<Token> {
        let claims = claimants.iter().map(|claimant| Claim {
            key: &claimant.name,
            secret: claimant.secret.clone(),
            known: claimant.known,
        });
        let owners = tokens::secret_owners(self.world, claims);
        let find = |Claimant { name, secret, .. }: &Claimant| match owners.get(secret) {
            Some(owner) if *owner != name => Token::Taken((*owner).clone()),
            _ => secrets::token(self.world, name, secret).map_or_else(Token::Missing, Token::Found),
        };
        claimants.iter().map(find).collect()
    }

    /// Refuses a VirtualKey whose Secret is another's. One that was never accepted isn't now either.
    fn turn_away(&mut self, claimant: Claimant, owner: &ObjectName) {
        let Claimant {
            name,
            mut verdict,
            key,
            secret,
            known,
        } = claimant;
        let consequence = if known {
            "no token of it is in force"
        } else {
            "nothing of it is in force"
        };
        let cause = format!(
            "spec.secretName: found {:?}, which is also VirtualKey {owner}'s; allowed is a Secret of its own ({consequence})",
            secret.name
        );
        verdict.accepted = Condition::refused(Reason::SecretInUse, cause);
        if known {
            self.compiled
                .snapshot
                .virtual_keys
                .insert(name.clone(), key);
        } else {
            self.compiled.last_good.virtual_keys.remove(&name);
        }
        self.conclude(ObjectId::new(Kind::VirtualKey, name), verdict);
    }

    /// Gives a VirtualKey its token, or refuses its claim, and resolves the rest of it.
    fn settle(&mut self, claimant: Claimant, token: Result<TokenDigest, String>) {
        let Claimant {
            name,
            mut verdict,
            mut key,
            ..
        } = claimant;
        let reach = Reach {
            providers: &self.providers,
            used_providers: &self.used_providers,
            routes: &self.compiled.snapshot.routes,
        };
        let mut missing = reach.missing(&name, &key);
        verdict.shadowed = reach.shadowed(&name, &key);
        match token {
            Ok(token) if self.compiled.last_good.tokens.get(&token) == Some(&name) => {
                key.tokens.push(token);
            }
            Ok(_) => {
                let cause = "spec.secretName: found a Secret whose token already is another VirtualKey's; allowed is a token of its own (no token of it is in force)";
                verdict.accepted = Condition::refused(Reason::TokenInUse, cause);
            }
            Err(cause) => missing.insert(0, format!("spec.secretName: {cause}")),
        }
        verdict.resolved_refs = Condition::resolved(&missing);
        self.compiled
            .snapshot
            .virtual_keys
            .insert(name.clone(), key);
        self.conclude(ObjectId::new(Kind::VirtualKey, name), verdict);
    }

    fn conclude(&mut self, id: ObjectId, verdict: Verdict) {
        self.compiled.verdicts.insert(id, verdict);
    }
}

/// Begins a verdict, and remembers what the next compile falls back to.
fn begin<S: Spec>(
    name: &ObjectName,
    judged: Judged<S>,
    goods: &mut BTreeMap<ObjectName, Good<S>>,
) -> (Verdict, Option<S::Draft>) {
    if let Some(good) = judged.good {
        goods.insert(name.clone(), good);
    }
    let verdict = Verdict {
        generation: judged.generation,
        accepted: judged.accepted,
        resolved_refs: Condition::unresolved(),
        shadowed: Vec::new(),
        warnings: Vec::new(),
    };
    (verdict, judged.draft)
}
