//! Modules that import each other in a ring: then one must read all of them to read one.

use super::files::{File, Tree};
use super::ratchet::Measured;
use crate::lexer::{Source, is_word};
use std::collections::{BTreeMap, BTreeSet};

type Graph = BTreeMap<String, BTreeSet<String>>;
/// The path of a module within its crate, and its text.
type Module<'s> = (Vec<String>, &'s Source);

/// Every ring of modules that stand beside each other, at the root of a crate or in one of its folders.
pub fn measure(tree: &Tree) -> Vec<Measured> {
    let packages: BTreeSet<&str> = tree.files.iter().filter_map(File::package).collect();
    packages.into_iter().flat_map(|package| rings_of(tree, package)).collect()
}

fn rings_of(tree: &Tree, package: &str) -> Vec<Measured> {
    let source_folder = format!("{package}/src/");
    let files: Vec<Module<'_>> = tree
        .rust()
        .filter(|(file, _)| !file.is_test() || package.ends_with("testkit"))
        .filter_map(|(file, source)| Some((module_path(file.path.strip_prefix(&source_folder)?), source)))
        .collect();
    let folders: BTreeSet<&[String]> = files.iter().filter_map(|(path, _)| Some(path.split_last()?.1)).collect();
    folders.into_iter().flat_map(|folder| rings_in(&files, package, folder)).collect()
}

fn rings_in(files: &[Module<'_>], package: &str, folder: &[String]) -> Vec<Measured> {
    let graph = graph_of(files, folder);
    let inside = folder.iter().map(|name| format!("/{name}")).collect::<String>();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for module in graph.keys() {
        let ring: BTreeSet<&str> = reachable(&graph, module)
            .into_iter()
            .filter(|other| reachable(&graph, other).contains(module.as_str()))
            .collect();
        if ring.len() < 2 || !seen.insert(ring.clone()) {
            continue;
        }
        let names: Vec<&str> = ring.iter().copied().collect();
        let advice =
            format!("modules import each other in a ring: {}; move what they share into one below", names.join(", "));
        let name = format!("{package}{inside}:{}", names.join("+"));
        found.push(Measured { rule: "ring", name, size: names.len(), place: format!("{package}/src{inside}"), advice });
    }
    found
}

fn reachable<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(module) = open.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    seen
}

/// Which of the modules in a folder import which.
fn graph_of(files: &[Module<'_>], folder: &[String]) -> Graph {
    let of_folder = files.iter().find(|(path, _)| path == folder);
    let reexports = of_folder.map(|(_, source)| reexports(source)).unwrap_or_default();
    let mut graph = Graph::new();
    for (path, source) in files.iter().filter(|(path, _)| path.len() > folder.len() && path.starts_with(folder)) {
        let own = &path[folder.len()];
        let uses = graph.entry(own.clone()).or_default();
        for name in names_from(source, folder, path.len()) {
            let module = reexports.get(&name).cloned().unwrap_or(name);
            if module != *own {
                uses.insert(module);
            }
        }
    }
    let known: BTreeSet<String> = graph.keys().cloned().collect();
    graph.values_mut().for_each(|uses| uses.retain(|module| known.contains(module)));
    graph
}

/// `a/b.rs` -> a, b; `a/mod.rs` -> a; the root of the crate -> nothing.
fn module_path(path: &str) -> Vec<String> {
    let plain = path.trim_end_matches(".rs").trim_end_matches("/mod");
    plain.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(str::to_owned).collect()
}

/// The names that follow the folder's path from the root, or as many `super::` as lead to it.
fn names_from(source: &Source, folder: &[String], depth: usize) -> BTreeSet<String> {
    let up = "super::".repeat(depth - folder.len());
    let down = folder.iter().fold("crate::".to_owned(), |path, name| format!("{path}{name}::"));
    let mut names = BTreeSet::new();
    for prefix in [down.as_str(), up.as_str()] {
        for at in source.find(prefix).filter(|at| !source.in_tests(*at)) {
            let longer = source.code[..at].ends_with("super::");
            if !longer {
                first_names(&source.code[at + prefix.len()..], &mut names);
            }
        }
    }
    names
}

/// The first segments of a path or of a `{...}` list of paths.
fn first_names(rest: &str, names: &mut BTreeSet<String>) {
    let bytes = rest.as_bytes();
    if bytes.first() != Some(&b'{') {
        let end = bytes.iter().take_while(|b| is_word(**b)).count();
        names.insert(rest[..end].to_owned());
        return;
    }
    let body = &rest[1..crate::lexer::after_matching(bytes, 0).saturating_sub(1)];
    let mut depth = 0;
    for part in body.split_inclusive([',', '{', '}']) {
        if depth == 0 {
            let name: String = part.trim_start().chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect();
            names.insert(name);
        }
        match part.as_bytes().last() {
            Some(b'{') => depth += 1,
            Some(b'}') => depth -= 1,
            _ => {}
        }
    }
}

/// Names that the root of the crate passes on from its modules: `pub use batch::{ChangeBatch, Kind}`.
fn reexports(source: &Source) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for at in source.find("use") {
        let statement = source.code[at + 3..].split(';').next().unwrap_or_default().trim();
        let Some((module, rest)) = statement.split_once("::") else { continue };
        for part in rest.split([',', '{', '}']) {
            let name = part.rsplit("::").next().unwrap_or_default();
            let name = name.rsplit(" as ").next().unwrap_or_default().trim();
            if !name.is_empty() && module != "crate" && module != "std" {
                map.insert(name.to_owned(), module.to_owned());
            }
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files::{File, Tree};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File {
            path: format!("crates/x/src/{path}"),
            text: (*text).to_owned(),
            rust: Some(Source::new(text)),
            test: false,
        };
        Tree { files: files.iter().map(file).collect() }
    }

    #[test]
    fn a_ring_is_found_through_groups_reexports_and_super() {
        let ring = tree(&[
            ("lib.rs", "mod a; mod b; mod c; pub use c::Thing;"),
            ("a.rs", "use crate::{b::{X, Y}, d};"),
            ("b/mod.rs", "use super::Thing;"),
            ("b/inner.rs", "use super::super::c;"),
            ("c.rs", "fn f() { crate::a::go() }"),
        ]);
        let found: Vec<String> = measure(&ring).into_iter().map(|m| m.name).collect();
        assert_eq!(found, ["crates/x:a+b+c"]);
    }

    #[test]
    fn a_ring_in_a_folder_is_found() {
        let ring = tree(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; mod c; mod d; pub use c::Thing;"),
            ("a/b.rs", "use super::Thing; use super::d::Other;"),
            ("a/c/mod.rs", "mod inner;"),
            ("a/c/inner.rs", "use crate::a::{b, d};"),
            ("a/d.rs", "use super::*;"),
        ]);
        let found: Vec<String> = measure(&ring).into_iter().map(|m| m.name).collect();
        assert_eq!(found, ["crates/x/a:b+c"]);
    }

    #[test]
    fn a_chain_is_no_ring_and_tests_do_not_count() {
        let chain = tree(&[("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a; }")]);
        assert!(measure(&chain).is_empty());
    }
}
