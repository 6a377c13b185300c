//! Calls that are not made here, each with what is done instead.

use super::Finding;
use super::files::{File, Tree};
use crate::lexer::Source;

/// Where a ban holds.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    Everywhere,
    Product,
    Tests,
}

struct Ban {
    rule: &'static str,
    calls: &'static [&'static str],
    holds: Where,
    /// Files whose path contains one of these are exempt.
    except: &'static [&'static str],
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        rule: "unbounded",
        calls: &["unbounded_channel", "mpsc::unbounded", "mpsc::channel()", "std::sync::mpsc::channel"],
        holds: Where::Everywhere,
        except: &[],
        instead: "a channel has a bound; use `tokio::sync::mpsc::channel(n)` or `std::sync::mpsc::sync_channel(n)`",
    },
    Ban {
        rule: "sleep",
        calls: &["thread::sleep"],
        holds: Where::Tests,
        except: &["crates/testkit/", "crates/scratch/"],
        instead: "wait for the event itself (testkit has waiters with a deadline)",
    },
    Ban {
        rule: "clock",
        calls: &["SystemTime::now", "Utc::now", "Local::now"],
        holds: Where::Product,
        except: &["/clock.rs", "xtask/", "crates/scratch/"],
        instead: "take `dujiang_core::clock::Clock`, so that tests can set the time",
    },
    Ban {
        rule: "unwrap",
        calls: &[".unwrap()", ".unwrap_err()"],
        holds: Where::Product,
        except: &[],
        instead: "return an error, or `expect(\"invariant: ...\")` where it cannot happen",
    },
    Ban {
        rule: "unfinished",
        calls: &["todo!", "unimplemented!", "dbg!"],
        holds: Where::Everywhere,
        except: &[],
        instead: "finish it, or refuse with Code::NotSupported",
    },
    Ban {
        rule: "print",
        calls: &["println!", "print!", "eprintln!", "eprint!"],
        holds: Where::Product,
        except: &["crates/cli/", "xtask/", "/examples/"],
        instead: "only the command prints; use `tracing` events or return the text",
    },
    Ban {
        rule: "ignore",
        calls: &["#[ignore"],
        holds: Where::Everywhere,
        except: &[],
        instead: "assert what happens now with a FIXME, or remove the test",
    },
    Ban {
        rule: "set-var",
        calls: &["env::set_var", "env::remove_var"],
        holds: Where::Everywhere,
        except: &[],
        instead: "hand the variables in as an argument, or set them on the child process",
    },
    Ban {
        rule: "feature",
        calls: &["cfg(feature", "cfg_attr(feature"],
        holds: Where::Everywhere,
        except: &[],
        instead: "no feature flags; a heavy part becomes a crate of its own",
    },
];

/// Checks every Rust file, and every text file for words that belong to one machine.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tree.rust().flat_map(|(file, source)| calls(file, source)).collect();
    findings.extend(tree.files.iter().flat_map(machine_words));
    findings
}

fn calls(file: &File, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in BANS.iter().filter(|ban| !ban.except.iter().any(|part| file.path.contains(part))) {
        for at in ban.calls.iter().flat_map(|call| source.find(call)) {
            let in_tests = file.is_test() || source.in_tests(at);
            let line = source.line(at);
            let holds = match ban.holds {
                Where::Everywhere => true,
                Where::Product => !in_tests,
                Where::Tests => in_tests,
            };
            if holds && !file.excuses(line, ban.rule) {
                let place = format!("{}:{line}", file.path);
                findings.push(Finding::new(place, format!("[{}] {}", ban.rule, ban.instead)));
            }
        }
    }
    findings
}

/// Paths that exist on one machine only; written in two pieces so that this file passes.
const MACHINE_WORDS: &[&str] = &[concat!("/wor", "k/"), concat!("../sha", "red"), concat!("/tmp/tar", "get")];

fn machine_words(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in MACHINE_WORDS {
            let stands_alone = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_');
            if line.match_indices(word).any(|(at, _)| stands_alone(at)) {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::new(place, format!("`{word}` is a path of one machine; remove it")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> usize {
        let test = path.contains("/tests/");
        let file = File { path: path.to_owned(), text: text.to_owned(), rust: None, test };
        calls(&file, &Source::new(text)).len()
    }

    #[test]
    fn bans_hold_where_they_should() {
        assert_eq!(rules("crates/a/src/b.rs", "fn f() { x.unwrap() }"), 1);
        assert_eq!(rules("crates/a/tests/main.rs", "fn f() { x.unwrap() }"), 0);
        assert_eq!(rules("crates/a/tests/main.rs", "fn f() { std::thread::sleep(d) }"), 1);
        assert_eq!(rules("crates/a/src/b.rs", "fn f() { let x = \"todo!()\"; } // .unwrap()"), 0);
        assert_eq!(
            rules("crates/a/src/b.rs", "// tidy: allow(clock): the log's own time\nlet t = SystemTime::now();"),
            0
        );
        assert_eq!(rules("crates/cli/src/b.rs", "fn f() { println!() }"), 0);
    }
}
