//! The crate as a whole, over a sample registry.

mod canary;
mod messages;
mod properties;
mod rule_properties;
mod rules;
mod several;

mod sample;
mod shapes;
