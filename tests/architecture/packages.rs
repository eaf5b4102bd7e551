//! Holds the arrows between packages, and what must not be linked where. It must know packages by what
//! cargo itself reports, never by reading manifests.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

const CLI: &str = "weighbridge";
const COMPILER: &str = "weighbridge-compiler";
const CRDS: &str = "weighbridge-crds";
const DATAPLANE: &str = "weighbridge-dataplane";
const MOCK: &str = "weighbridge-mock";
const SNAPSHOT: &str = "weighbridge-snapshot";
const TESTS: &str = "weighbridge-tests";

/// Which packages of the workspace each one may depend on. A new package gets its line here, and its
/// place in `ARCHITECTURE.md`.
const ARROWS: [(&str, &[&str]); 7] = [
    (CLI, &[COMPILER, CRDS, DATAPLANE, MOCK, SNAPSHOT]),
    (COMPILER, &[CRDS, SNAPSHOT]),
    (CRDS, &[]),
    (DATAPLANE, &[SNAPSHOT]),
    (MOCK, &[]),
    (SNAPSHOT, &[]),
    (TESTS, &[CLI, COMPILER, CRDS, DATAPLANE, MOCK, SNAPSHOT]),
];

/// Crates that must not be linked into a package, directly or not, and why.
const ABSENT: [(&str, &[&str], &str); 6] = [
    (
        DATAPLANE,
        &[
            "kube",
            "kube-core",
            "kube-client",
            "k8s-openapi",
            "schemars",
        ],
        "the request path knows no Kubernetes",
    ),
    (
        SNAPSHOT,
        &["kube", "kube-core", "k8s-openapi", "hyper", "tokio"],
        "the contract is plain data, without IO",
    ),
    (
        COMPILER,
        &["kube-client", "hyper", "tokio"],
        "compile is pure: no watching, no HTTP, no client",
    ),
    (
        CRDS,
        &["kube-client", "kube-runtime", "hyper", "tokio"],
        "resources need kube's derive only",
    ),
    (
        CLI,
        &["kube-client", "kube-runtime"],
        "no subcommand talks to a cluster yet",
    ),
    (
        MOCK,
        &["kube", "k8s-openapi"],
        "the fake providers know nothing of the gateway",
    ),
];

struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    fn read() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .other_options(vec!["--locked".to_owned()])
            .exec()
            .expect("cargo describes the workspace it is building");
        Self { metadata }
    }

    fn package(&self, name: &str) -> &Package {
        self.metadata
            .workspace_packages()
            .into_iter()
            .find(|package| package.name.as_str() == name)
            .expect("a package of the workspace")
    }

    /// The names of the workspace's packages that `package` depends on in one of these ways.
    fn arrows(&self, package: &Package, kinds: &[DependencyKind]) -> BTreeSet<&str> {
        let ours = |id: &PackageId| self.metadata.workspace_members.contains(id);
        self.direct(&package.id, kinds)
            .into_iter()
            .filter(|id| ours(id))
            .map(|id| self.metadata[id].name.as_str())
            .collect()
    }

    fn direct(&self, id: &PackageId, kinds: &[DependencyKind]) -> Vec<&PackageId> {
        let resolve = self.metadata.resolve.as_ref().expect("a resolved graph");
        let node = resolve.nodes.iter().find(|node| node.id == *id);
        node.expect("every package is a node")
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kinds.contains(&kind.kind)))
            .map(|dep| &dep.pkg)
            .collect()
    }

    /// Everything linked into `package`, each with the way that leads there.
    fn linked(&self, package: &Package) -> BTreeMap<&str, String> {
        let mut ways: BTreeMap<&PackageId, String> = BTreeMap::new();
        let mut open = vec![(&package.id, package.name.to_string())];
        while let Some((id, way)) = open.pop() {
            for next in self.direct(id, &[DependencyKind::Normal]) {
                if !ways.contains_key(next) {
                    let way = format!("{way} → {}", self.metadata[next].name);
                    ways.insert(next, way.clone());
                    open.push((next, way));
                }
            }
        }
        ways.into_iter()
            .map(|(id, way)| (self.metadata[id].name.as_str(), way))
            .collect()
    }
}

#[test]
fn packages_depend_on_each_other_along_the_arrows_alone() {
    let workspace = Workspace::read();
    for package in workspace.metadata.workspace_packages() {
        let name = package.name.as_str();
        let (_, allowed) = ARROWS
            .iter()
            .find(|(from, _)| *from == name)
            .unwrap_or_else(|| panic!("{name} has no line in ARROWS"));
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let built = workspace.arrows(package, &[DependencyKind::Normal, DependencyKind::Build]);
        let excess: Vec<_> = built.difference(&allowed).collect();
        assert!(excess.is_empty(), "{name} must not depend on {excess:?}");
        // Tests of any package may talk to the fake providers, which know none of ours.
        let in_tests = workspace.arrows(package, &[DependencyKind::Development]);
        let excess: Vec<_> = in_tests
            .difference(&allowed)
            .filter(|to| **to != MOCK)
            .collect();
        assert!(excess.is_empty(), "{name}'s tests must not use {excess:?}");
    }
}

#[test]
fn the_arrows_that_carry_the_design_exist() {
    let workspace = Workspace::read();
    for (from, to) in [
        (COMPILER, CRDS),
        (COMPILER, SNAPSHOT),
        (DATAPLANE, SNAPSHOT),
    ] {
        let arrows = workspace.arrows(workspace.package(from), &[DependencyKind::Normal]);
        assert!(arrows.contains(to), "{from} depends on {to}");
    }
}

#[test]
fn what_a_package_must_not_know_is_not_linked_into_it() {
    let workspace = Workspace::read();
    for (name, absent, reason) in ABSENT {
        let linked = workspace.linked(workspace.package(name));
        assert!(linked.len() > 1, "{name} has dependencies of its own");
        for krate in absent {
            let way = linked.get(krate);
            assert!(way.is_none(), "{reason}, but: {}", way.unwrap());
        }
    }
}

#[test]
fn the_graph_that_is_searched_reaches_far() {
    // Guards the test above: a walk that finds nothing would hold everything.
    let workspace = Workspace::read();
    assert!(
        workspace
            .linked(workspace.package(CRDS))
            .contains_key("k8s-openapi")
    );
    assert!(
        workspace
            .linked(workspace.package(DATAPLANE))
            .contains_key("hyper")
    );
    assert!(
        workspace
            .linked(workspace.package(CLI))
            .contains_key("kube-core")
    );
}
