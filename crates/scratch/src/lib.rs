//! Private database servers in a scratch folder, for `dujiang demo` and for tests.
//!
//! A [`Server`] listens on a free port of the loopback address, keeps everything it writes in one folder, starts in a
//! fraction of a second (it copies a data folder that was prepared once per machine), and never outlives the process
//! that started it: not when the [`Server`] is dropped, not when the process is killed.
//!
//! ```no_run
//! use dujiang_scratch::{Options, Server};
//!
//! let mut server = Server::start(&Options::default())?;
//! server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)")?;
//! println!("root without password on 127.0.0.1:{}", server.port());
//! server.kill9()?;
//! server.restart()?;
//! # Ok::<(), dujiang_scratch::Error>(())
//! ```

mod binary;
mod error;
mod guard;
mod kafka;
mod oceanbase;
mod options;
mod packet;
mod port;
mod postgres;
mod random;
mod ready;
mod server;
mod session;
pub mod shop;
mod template;

pub use binary::{Family, Kind, ServerBinary};
pub use error::{Error, Result};
pub use kafka::{Kafka, KafkaOptions};
pub use oceanbase::OceanBase;
pub use options::Options;
pub use port::free_port;
pub use postgres::{Postgres, PostgresKind, PostgresOptions};
pub use random::Random;
pub use server::Server;
pub use session::{Row, Session, quoted};
