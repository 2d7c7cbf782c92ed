//! The keys of `[stats]`.

use super::Reload::AtOnce;
use crate::config::load::{Reader, Section};
use crate::config::units::{any_number_of, integer, text};

/// `[stats]`: what of the machine is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Which of the machine's addresses the heartbeat names, from 0: those of IPv4 first, without loopback; beyond the last
    /// one it begins anew. Default 0. Reload: at once.
    pub network: u32,
    /// The disks whose busiest is told by `/api/v1/summaries`, as `/proc/diskstats` names them. Default none, which is
    /// all (SRS: none). Reload: at once.
    pub disk: Vec<String>,
}

impl Section for Stats {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            network: r.key("network", AtOnce, integer(0..=1_000), 0),
            disk: r.key("disk", AtOnce, any_number_of(text(DISKS, is_disk)), Vec::new()),
        }
    }
}

const DISKS: &str = "the name of a disk like \"sda\"";

fn is_disk(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
}
