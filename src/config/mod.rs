//! The configuration: one TOML file with SRS's directive names, read whole, checked whole.
//!
//! [`schema`] holds the keys with their defaults and units, [`units`] and [`mount`] how single values are written,
//! [`load`] reads a file against the schema, [`check`] is the errors, and the rules between keys. A file
//! with faults yields all of them at once, each with its place. Plain data: no I/O besides reading the
//! file. Spec: the directives of SRS 3.0's `full.conf`; keys that this version does not act on are errors.

pub mod check;
pub mod load;
pub mod mount;
pub mod schema;
pub mod units;

pub use check::{ConfigError, ConfigErrors, Position, Problem};
pub use mount::{LiveFormat, Mount, MountError};
pub use schema::{
    Config, HttpApi, HttpRemux, HttpServer, LogLevel, LogTank, OnDuplicate, Play, Publish, TimeJitter, Vhost,
};
pub use units::{ListenAddr, MemoryLimit};
