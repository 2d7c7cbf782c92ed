//! The server: wires the stream core to sockets and shards. The I/O shells live here; what they say and
//! decide is in `rtmp`, `http`, `web` and `stream`.
//!
//! | module | one idea |
//! |---|---|
//! | [`start`] | configuration → pid file, ports, user, log, running shards |
//! | [`preside`] | the master while they run: signals, reloads, the way out |
//! | [`drain`] | SIGQUIT: how clients are left |
//! | [`notify`] | a word to the service manager |
//! | [`plan`] | what a configuration means, worked out once for all shards |
//! | [`process`] | what all shards share |
//! | [`reload`] | the configuration read again, and put in force on every shard |
//! | [`census`] | how many clients there are of an address, of a vhost |
//! | [`messages`] | everything that crosses shards |
//! | [`shard`] | one shard: accept, turns, sweeps |
//! | [`totals`] | what it counts of connections that are gone |
//! | [`signal`] | a flag that one task waits for |
//! | [`conn`] | a connection: private bytes, parked writer, deadline, why it ended |
//! | [`heartbeat`] | a manager of servers is told that this one is there |
//! | [`hooks`] | what a connection asks and tells an operator's backend |
//! | [`rtmp_conn`] | RTMP's shell |
//! | [`http_conn`] | HTTP's shell: requests, live bodies, files, the API |
//! | [`demo`] | the built-in stream |
//! | [`snapshot`] | what a shard tells the API |
//! | [`api_refusals`] | calls of the API that were refused, counted and told |
//! | [`key_urls`] | keys of tokens from URLs, kept fresh |
//! | [`sign`] | a URL that carries its own permission, for the command line |

pub mod api_refusals;
pub mod census;
pub mod conn;
pub mod demo;
pub mod drain;
pub mod heartbeat;
pub mod hooks;
pub mod http_conn;
pub mod key_urls;
pub mod messages;
pub mod notify;
pub mod plan;
pub mod preside;
pub mod process;
pub mod reload;
pub mod rtmp_conn;
pub mod shard;
pub mod sign;
pub mod signal;
pub mod snapshot;
pub mod start;
pub mod totals;
