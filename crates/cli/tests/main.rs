//! The real binary, as users and scripts meet it.

#![allow(clippy::print_stdout, reason = "figures of a long test, shown when it fails or with --nocapture")]

mod apart;
mod bad_input;
mod canary;
mod commands;
mod configuration;
mod damage;
mod datahub;
mod datahub_log_kill_loop;
mod doctor;
mod e2e;
mod fault_loop;
mod kafka;
mod kafka_log_kill_loop;
mod kill_loop;
mod log;
mod log_kill_loop;
mod messages;
mod plan;
mod postgres;
mod readers;
mod river;
mod rules;
mod saboteurs;
mod size;
mod support;
mod topics;
mod unfit;
