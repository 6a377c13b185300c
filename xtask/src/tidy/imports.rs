//! The import table: which crate may know which.

use super::Finding;
use super::files::{File, Tree};

/// One row of the table in ARCHITECTURE.md.
struct Row {
    /// Folder of the crate; `*` stands for one name.
    package: &'static str,
    /// Crates of ours it may import; `*` at the end stands for any ending.
    ours: &'static [&'static str],
    /// Heavy crates it may import.
    heavy: &'static [&'static str],
}

const ARROW: &[&str] = &["arrow-array", "arrow-buffer", "arrow-schema", "arrow-data", "arrow-select"];
const FORMATS: &[&str] = &[
    "arrow-array",
    "arrow-buffer",
    "arrow-schema",
    "arrow-data",
    "arrow-select",
    "arrow-ipc",
    "arrow-json",
    "arrow-csv",
    "parquet",
    "apache-avro",
];

const TABLE: &[Row] = &[
    Row { package: "crates/core", ours: &[], heavy: ARROW },
    Row { package: "crates/spec", ours: &["dujiang-core"], heavy: &["saphyr-parser", "annotate-snippets"] },
    Row { package: "crates/formats/*", ours: &["dujiang-core"], heavy: FORMATS },
    Row {
        package: "crates/connectors/*",
        ours: &[
            "dujiang-core",
            "dujiang-format-*",
            "dujiang-net",
            "dujiang-spool",
            "dujiang-entries",
            "dujiang-database",
        ],
        heavy: &["*"],
    },
    Row {
        package: "crates/net",
        ours: &["dujiang-core"],
        heavy: &["rustix", "rustls", "rustls-native-certs", "tokio", "tokio-rustls"],
    },
    Row { package: "crates/spool", ours: &["dujiang-core"], heavy: &["tokio"] },
    Row { package: "crates/database", ours: &["dujiang-core"], heavy: &["zstd"] },
    Row {
        package: "crates/entries",
        ours: &["dujiang-core", "dujiang-format-*"],
        heavy: &["arrow-ipc", "arrow-schema"],
    },
    Row {
        package: "crates/transforms",
        ours: &["dujiang-core"],
        // chrono without its clock: the calendar.
        heavy: &["datafusion-expr", "datafusion-physical-expr", "datafusion-functions", "arrow-cast", "chrono"],
    },
    Row {
        package: "crates/engine",
        ours: &["dujiang-core"],
        heavy: &["tokio", "tokio-util", "getrandom", "rustix", "arrow-array", "arrow-schema"],
    },
    Row { package: "crates/scratch", ours: &[], heavy: &["rustix"] },
    Row { package: "crates/testkit", ours: &["dujiang-core", "dujiang-scratch", "dujiang-engine"], heavy: &["*"] },
    Row {
        package: "crates/cli",
        ours: &["dujiang-*"],
        // Arrow and the calendar for the values of fixtures (`dujiang test`).
        heavy: &[
            "clap",
            "indicatif",
            "tokio",
            "tracing-subscriber",
            "rustix",
            "arrow-array",
            "arrow-buffer",
            "arrow-cast",
            "arrow-schema",
            "chrono",
        ],
    },
];

/// Crates that cost build time, or that reach for files, sockets, clocks and random numbers. Only these need a place in
/// the table; a small pure crate needs none.
const HEAVY: &[&str] = &[
    "arrow-array",
    "arrow-buffer",
    "arrow-schema",
    "arrow-data",
    "arrow-select",
    "arrow-json",
    "arrow-csv",
    "arrow-cast",
    "parquet",
    "apache-avro",
    "tokio",
    "tokio-util",
    "tokio-rustls",
    "rustls",
    "rustls-native-certs",
    "webpki-roots",
    "getrandom",
    "rand",
    "rustix",
    "mysql_common",
    "saphyr-parser",
    "annotate-snippets",
    "clap",
    "indicatif",
    "axum",
    "reqwest",
    "hyper",
    "object_store",
    "tracing-subscriber",
    "datafusion",
    "datafusion-expr",
    "datafusion-physical-expr",
    "datafusion-functions",
    "datafusion-sql",
    "tempfile",
    "chrono",
    "zstd",
    "flate2",
    "encoding_rs",
];

/// Nobody imports these outside their tests.
const NEVER: &[(&str, &str)] = &[
    ("dujiang", "the command is never imported; move what you need into a library crate"),
    ("dujiang-testkit", "testkit is for tests: list it under [dev-dependencies]"),
    ("tempfile", "temporary folders are for tests: list it under [dev-dependencies]"),
    ("proptest", "property tests only: list it under [dev-dependencies]"),
];

/// Checks every manifest.
pub fn check(tree: &Tree) -> Vec<Finding> {
    // Fuzz targets are workspaces of their own: nothing of them is built unless somebody fuzzes.
    let ours = |f: &&File| f.path.ends_with("/Cargo.toml") && !f.path.ends_with("/fuzz/Cargo.toml");
    let manifests = tree.files.iter().filter(ours);
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &File) -> Vec<Finding> {
    let folder = file.path.trim_end_matches("/Cargo.toml");
    let dependencies = dependencies(&file.text);
    let mut findings = Vec::new();
    for dependency in &dependencies {
        let place = format!("{}:{}", file.path, dependency.line);
        if let Some(message) = fault(folder, dependency) {
            findings.push(Finding::new(place, message));
        }
    }
    findings
}

fn fault(folder: &str, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if folder == "xtask" {
        return Some(format!("xtask uses the standard library only, so that it builds in seconds; remove `{name}`"));
    }
    if !dependency.from_workspace {
        return Some(format!("every version stands in the workspace's Cargo.toml; write `{name}.workspace = true`"));
    }
    if dependency.section != "dependencies" {
        return None;
    }
    if let Some((_, why)) = NEVER.iter().find(|(never, _)| *never == name) {
        let own_kind = folder == "crates/testkit" || (folder == "crates/scratch" && name == "tempfile");
        return (!own_kind).then(|| (*why).to_owned());
    }
    let Some(row) = TABLE.iter().find(|row| matches(row.package, folder)) else {
        return Some(format!("`{folder}` has no row in the import table (xtask/src/tidy/imports.rs)"));
    };
    let ours = name.starts_with("dujiang-");
    if ours && !row.ours.iter().any(|allowed| matches(allowed, name)) {
        return Some(format!("`{folder}` may not import `{name}`; see the import table in ARCHITECTURE.md"));
    }
    let free =
        ARROW.contains(&name) || !HEAVY.contains(&name) || row.heavy.iter().any(|allowed| matches(allowed, name));
    (!ours && !free).then(|| format!("`{folder}` may not import `{name}`; see the import table in ARCHITECTURE.md"))
}

/// `a/*` matches `a/b`, `x-*` matches `x-y`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

struct Dependency {
    name: String,
    section: String,
    from_workspace: bool,
    line: usize,
}

/// Reads the dependency sections of a manifest. Ours are written one to a line, so that this small reader is enough.
fn dependencies(text: &str) -> Vec<Dependency> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if section.ends_with("dependencies")
            && let Some((key, value)) = line.split_once('=')
        {
            let key = key.trim();
            let name = key.trim_end_matches(".workspace").trim_matches('"');
            let from_workspace = key.ends_with(".workspace") || value.replace(' ', "").contains("workspace=true");
            let section = section.rsplit('.').next().unwrap_or_default().to_owned();
            found.push(Dependency { name: name.to_owned(), section, from_workspace, line: index + 1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(folder: &str, manifest: &str) -> Vec<String> {
        dependencies(manifest).iter().filter_map(|d| fault(folder, d)).collect()
    }

    #[test]
    fn the_table_is_kept() {
        assert!(
            faults("crates/core", "[dependencies]\narrow-array.workspace = true\nbytes.workspace = true").is_empty()
        );
        assert_eq!(faults("crates/core", "[dependencies]\ntokio.workspace = true").len(), 1);
        assert_eq!(faults("crates/engine", "[dependencies]\ndujiang-mysql.workspace = true").len(), 1);
        assert!(faults("crates/engine", "[dev-dependencies]\ndujiang-mysql.workspace = true").is_empty());
        assert_eq!(faults("crates/connectors/file", "[dependencies]\ndujiang-mysql.workspace = true").len(), 1);
        assert!(faults("crates/connectors/file", "[dependencies]\ndujiang-format-text.workspace = true").is_empty());
    }

    #[test]
    fn versions_stand_in_one_place() {
        assert_eq!(faults("crates/core", "[dependencies]\nbytes = \"1\"").len(), 1);
        assert!(faults("crates/core", "[dependencies]\nbytes = { workspace = true }").is_empty());
        assert_eq!(faults("xtask", "[dependencies]\nbytes.workspace = true").len(), 1);
    }
}
