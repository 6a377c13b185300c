//! What users read of each error, written down word by word: one file per code in a crate's `tests/snapshots`.
//!
//! `UPDATE_SNAPSHOTS=1` writes the files anew. `cargo xtask tidy` makes sure that no code is without one.

use dujiang_core::Error;
use std::fmt::Write;
use std::path::Path;

/// Demands that an error reads as `<crate>/tests/snapshots/<code>.txt` has it; `folder` is the crate's
/// (`env!("CARGO_MANIFEST_DIR")`). Every text of `hide`, such as the path of a scratch folder, becomes its pair before;
/// numbers of three and more digits become `N`, lineages and versions of servers their names.
///
/// # Panics
/// When it reads otherwise.
#[track_caller]
pub fn check(folder: &str, error: &Error, hide: &[(&str, &str)]) {
    check_text(folder, error.code().number(), &text(error), hide);
}

/// The same for what a program has printed.
///
/// # Panics
/// As [`check`].
#[track_caller]
pub fn check_text(folder: &str, code: &str, said: &str, hide: &[(&str, &str)]) {
    assert!(said.contains(&format!("[{code}]")), "this is not {code}:\n{said}");
    let hidden = hide.iter().fold(said.to_owned(), |said, (text, instead)| said.replace(text, instead));
    let said = steady(&hidden);
    let path = Path::new(folder).join("tests/snapshots").join(format!("{code}.txt"));
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written == said {
        return;
    }
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let folder = path.parent().expect("invariant: the path has a folder");
        std::fs::create_dir_all(folder).expect("a folder for messages");
        std::fs::write(&path, said).expect("write a message down");
        return;
    }
    panic!(
        "{code} reads otherwise than in {} (UPDATE_SNAPSHOTS=1 writes it anew):\n{said}\nwritten down:\n{written}",
        path.display()
    );
}

/// The parts of an error as a terminal shows them.
fn text(error: &Error) -> String {
    let mut text = format!("error[{}]: {}\n", error.code().number(), error.message());
    for (name, value) in error.facts() {
        let _ = writeln!(text, "  = note: {name}: {value}");
    }
    if let Some(help) = error.help_text() {
        let _ = writeln!(text, "  = help: {help}");
    }
    for cause in error.causes() {
        let _ = writeln!(text, "  = cause: {cause}");
    }
    text
}

/// The text without what differs from run to run: ports, processes, positions, lineages, versions of servers. Codes stay.
fn steady(text: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(part_of_word) {
        let end = rest[start..].find(|c| !part_of_word(c)).map_or(rest.len(), |length| start + length);
        out.push_str(&rest[..start]);
        let word = &rest[start..end];
        match numbers(word) {
            Some(3) => out.push_str("<version>"),
            // An address.
            Some(4) => out.push_str(word),
            _ => word.split_inclusive('.').for_each(|part| steady_part(part, &mut out)),
        }
        rest = &rest[end..];
    }
    out + rest
}

/// How many numbers a word is made of, if of nothing else.
fn numbers(word: &str) -> Option<usize> {
    word.split('.').all(|part| part.parse::<u32>().is_ok()).then(|| word.split('.').count())
}

fn steady_part(part: &str, out: &mut String) {
    let plain = part.trim_end_matches('.');
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let lineage = plain.len() == 16 && plain.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let code = plain.len() == 5 && plain.strip_prefix('E').is_some_and(digits);
    let place = plain.len() > 5 && plain.chars().all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c));
    match () {
        () if code => out.push_str(part),
        () if place => out.push_str(&part.replace(plain, "N")),
        () if lineage => out.push_str(&part.replace(plain, "<lineage>")),
        () if plain.len() > 2 && digits(plain) => out.push_str(&part.replace(plain, "N")),
        () => out.push_str(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::Code;

    #[test]
    fn an_error_is_written_down_with_all_its_parts() {
        let error = Error::new(Code::SourceUnreachable, "127.0.0.1:33061 cannot be reached")
            .fact("position", "bin.000003:4711")
            .help("check the port")
            .with_source(std::io::Error::other("refused"));
        let expected = "error[E0200]: 127.0.0.1:N cannot be reached\n  = note: position: bin.N:N\n  = help: check the \
                        port\n  = cause: refused\n";
        assert_eq!(steady(&text(&error)), expected);
        let said = "error[E0901]: `E9999`, MariaDB 10.11.19, 70fe12d34501aaaa at bin.000001:4711. 12 of 127.0.0.1:99, 0/15A2B38";
        let expected = "error[E0901]: `E9999`, MariaDB <version>, <lineage> at bin.N:N. 12 of 127.0.0.1:99, 0/N";
        assert_eq!(steady(said), expected);
    }
}
