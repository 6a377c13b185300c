//! Tests against real servers, each in a scratch folder.

mod catalog;
mod client;
mod decode;
mod support;
mod source;
