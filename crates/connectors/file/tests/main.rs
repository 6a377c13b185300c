//! Tests of the `file` sink against a real file system.

mod crash;
mod formats;
mod full_disk;
mod protocol;
mod rolling;
mod support;
