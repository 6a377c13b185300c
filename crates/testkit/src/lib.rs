//! For tests only: what misbehaves on purpose, and what finds out whether anything was lost.
//!
//! - [`conformance`]: what every sink, source and checkpoint store promises, as suites.
//! - [`datahub`]: a service that speaks DataHub's protocol and checks what it is sent.
//! - [`examination`]: what tests of `doctor` ask of an examination.
//! - [`fuzz`]: seeds of the fuzz targets, and a bounded run over mutations of them.
//! - [`memory`]: source, sink, store and dead letters in memory, which fail and crash on request.
//! - [`messages`]: what users read of each error, written down.
//! - [`pipeline`]: a pipeline in small for tests of sources, with crashes and a sink that notices what is wrong.
//! - [`power`]: a disk whose power fails.
//! - [`proxy`]: a TCP proxy that delays, cuts, drips, stalls, swallows and flips.
//! - [`saboteur`]: runs tests without a safety step, which they must notice.
//! - [`sample`]: tables with a number and a text, and rows of them.
//! - [`workload`]: a load of real transactions on a real server, made so that loss, repetition and reordering show.
//! - [`oracle`]: compares files with the source, row by row and change by change, through an independent reader.
//! - [`watch`]: lists a sink's folder all the time, as a reader who must never see uncommitted data.
//!
//! Private database servers come from `dujiang-scratch`.

pub mod conformance;
pub mod datahub;
pub mod examination;
pub mod fuzz;
pub mod memory;
pub mod messages;
pub mod oracle;
pub mod pipeline;
pub mod power;
pub mod proxy;
pub mod saboteur;
pub mod sample;
pub mod watch;
pub mod workload;
