//! The configuration: one TOML file with SRS's directive names, read whole, checked whole.
//!
//! [`schema`] holds the keys with their defaults and units, [`units`], [`log_level`] and [`mount`] how single values are written,
//! [`vhosts`] which vhost serves a name. [`source`] is where a configuration comes from, [`overrides`] what flags and the
//! environment say over it; [`load`] reads both against the schema, [`check`] is the errors, and the rules between keys,
//! [`reload`] what one changes against another, [`said`] which keys are not as by default; [`edit`] changes one key of
//! the text and [`save`] keeps that; [`keys`] reads the files that it names keys in; [`import`] makes one of an
//! `srs.conf`. A file with faults yields all of them at once, each with its place. Plain data: no I/O besides reading and
//! keeping the file, and reading those with keys. Spec: the directives of SRS 3.0's `full.conf`; keys that this version
//! does not act on are errors.

pub mod check;
pub mod edit;
pub mod import;
pub mod keys;
pub mod load;
pub mod log_level;
pub mod mount;
pub mod overrides;
pub mod reload;
pub mod said;
pub mod save;
pub mod schema;
pub mod source;
pub mod units;
pub mod vhosts;

pub use check::{ConfigError, ConfigErrors, Place, Position, Problem};
pub use keys::{KeyUrl, Keys};
pub use log_level::{LogLevel, ModuleLevel};
pub use mount::{LiveFormat, Mount, MountError};
pub use overrides::Overrides;
pub use reload::{Change, Values};
pub use said::Said;
pub use schema::{
    ApiAuth, Auth, Config, HttpApi, HttpRemux, HttpServer, LogTank, OnDuplicate, Play, Publish, Refer,
    Security, TimeJitter, Vhost,
};
pub use source::Source;
pub use units::{ListenAddr, MemoryLimit};
pub use vhosts::Vhosts;
