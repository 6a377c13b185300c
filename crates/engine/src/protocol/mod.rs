//! The epoch protocol, pure.
