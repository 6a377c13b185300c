//! The real binary, as users and scripts meet it.

mod bad_input;
mod commands;
mod damage;
mod e2e;
mod kill_loop;
mod readers;
mod river;
mod saboteurs;
mod support;
