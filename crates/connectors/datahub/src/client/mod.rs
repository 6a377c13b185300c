//! The service's protocol: <https://help.aliyun.com/zh/datahub> and the SDKs of Alibaba Cloud (Apache-2.0).

mod answer;
mod batch;
mod connection;
mod control;
mod cursors;
mod frame;
mod packing;
mod request;
mod rows;
mod sign;
mod subscription;
mod walk;
pub(crate) mod wire;

pub(crate) use answer::{Class, Failure};
pub(crate) use batch::{Form, RowWriter, compresses};
pub(crate) use connection::{Connection, Endpoint};
pub(crate) use control::{Field, ShardState, TopicInfo};
pub(crate) use cursors::{Cursor, Seek, ShardPath};
pub(crate) use packing::Compression;
pub(crate) use request::{Access, Client, PutFailure};
pub(crate) use rows::{Pulled, Row};
pub(crate) use subscription::Offset;
pub use walk::{walk_answer, walk_batch};
