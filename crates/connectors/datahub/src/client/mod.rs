//! The service's protocol: <https://help.aliyun.com/zh/datahub> and the SDKs of Alibaba Cloud (Apache-2.0).

mod answer;
mod connection;
mod control;
mod frame;
mod packing;
mod request;
mod sign;
pub mod wire;

pub use answer::{Class, Failure, Refusal};
pub use connection::{Connection, Endpoint};
pub use control::{Field, ShardState, TopicInfo};
pub use frame::{FrameFault, read_frame, write_frame};
pub use packing::Compression;
pub use request::{Access, Client, PutFailure};
pub use sign::{Signed, authorization};
