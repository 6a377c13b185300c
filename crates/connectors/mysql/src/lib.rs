//! The sources `mysql` and `mariadb`: tables of a MySQL or MariaDB server, first everything that is there, then every
//! change, by chunks of a snapshot and by the binlog.

pub mod client;
pub mod config;
pub mod ddl;
pub mod decode;
pub mod gtid;
pub mod position;
pub mod shape;
pub mod snapshot;
pub mod stream;
