//! The connection against real servers, and against what is none.

mod binlog;
mod login;
mod rows;
mod strangers;
