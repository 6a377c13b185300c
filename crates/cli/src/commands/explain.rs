//! `dujiang explain CODE`.

use super::fail;
use crate::console::{Console, print};
use clap::Args;
use dujiang_core::options::nearest;
use dujiang_core::{Code, Error};

/// Flags of `explain`.
#[derive(Args)]
pub struct Arguments {
    /// An error code, e.g. E0211; without one, all of them are listed
    code: Option<String>,
}

/// Prints the page of a code, or the list of all codes.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let Some(wanted) = &arguments.code else {
        Code::ALL.iter().for_each(|code| print(&format!("{}\t{}\n", code.number(), code.title())));
        return 0;
    };
    let wanted = wanted.to_ascii_uppercase();
    match Code::ALL.iter().find(|code| code.number() == wanted) {
        Some(code) => {
            print(&dujiang_spec::error_page(*code));
            0
        }
        None => {
            let error = Error::new(Code::Usage, format!("there is no error code `{wanted}`"));
            let near = nearest(&wanted, Code::ALL.iter().map(|code| code.number()));
            let help =
                near.map_or("`dujiang explain` lists all codes".into(), |near| format!("did you mean `{near}`?"));
            fail(&error.help(help), console)
        }
    }
}
