//! How many shards, and on which CPUs.
//!
//! What counts is what this process may use – the affinity mask and the cgroup's CPU quota – not what the
//! machine has: in a container `nproc`'s view of the host would start shards that share a core.

use crate::cgroup;

/// How many shards the user wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// As many as the process may use.
    All,
    /// Just so many.
    Count(u16),
}

/// Whether each shard is pinned to a CPU of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Pinned: more shards than CPUs is an error.
    Yes,
    /// Left to the kernel's scheduler: any number of shards works.
    No,
}

/// There are no more shards than this, whatever the machine has.
pub const MAX_SHARDS: u16 = 256;

/// Where the shards run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For each shard the CPU it is pinned to, if any.
    pub cpus: Vec<Option<usize>>,
}

impl Plan {
    /// Number of shards.
    pub fn shards(&self) -> u16 {
        self.cpus.len() as u16
    }
}

/// Why a wish cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More pinned shards than CPUs.
    #[error(
        "--cores {wanted}: this process may use {allowed} CPU{} ({why}); use --cores {allowed}, or --no-pin to run more shards than CPUs",
        if *.allowed == 1 { "" } else { "s" }
    )]
    TooMany {
        /// Shards wished.
        wanted: u16,
        /// CPUs there are.
        allowed: u16,
        /// What sets that number.
        why: &'static str,
    },
    /// No shard, or absurdly many.
    #[error("--cores {0}: must be between 1 and {MAX_SHARDS}")]
    OutOfRange(u16),
    /// The kernel did not say which CPUs may be used.
    #[error("cannot read the CPU affinity mask of this process")]
    NoMask,
}

/// Plans the shards from this process's affinity mask and cgroup quota.
pub fn plan(wish: Cores, pin: Pin) -> Result<Plan, PlanError> {
    let mask: Vec<usize> = core_affinity::get_core_ids()
        .filter(|cores| !cores.is_empty())
        .ok_or(PlanError::NoMask)?
        .into_iter()
        .map(|core| core.id)
        .collect();
    plan_on(&mask, cgroup::cpu_quota(), wish, pin)
}

fn plan_on(mask: &[usize], quota: Option<f64>, wish: Cores, pin: Pin) -> Result<Plan, PlanError> {
    // A quota of 2.5 CPUs can keep three shards busy, if not all of the time; 0.5 still needs one.
    let by_quota = quota.map(|q| (q.ceil() as usize).max(1));
    let (allowed, why) = match by_quota {
        Some(q) if q < mask.len() => (q, "cgroup CPU quota"),
        _ => (mask.len(), "CPU affinity mask"),
    };
    let allowed = allowed.min(usize::from(MAX_SHARDS)) as u16;
    let count = match wish {
        Cores::All => allowed,
        Cores::Count(n) if n == 0 || n > MAX_SHARDS => return Err(PlanError::OutOfRange(n)),
        Cores::Count(n) => n,
    };
    let cpus = match pin {
        Pin::No => vec![None; usize::from(count)],
        Pin::Yes if count > allowed => return Err(PlanError::TooMany { wanted: count, allowed, why }),
        Pin::Yes => mask.iter().take(usize::from(count)).map(|cpu| Some(*cpu)).collect(),
    };
    Ok(Plan { cpus })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(cpus: &[usize]) -> Result<Plan, PlanError> {
        Ok(Plan { cpus: cpus.iter().map(|cpu| Some(*cpu)).collect() })
    }

    #[test]
    fn shards_follow_the_mask_and_the_quota() {
        let mask = [2, 3, 6, 7];
        assert_eq!(plan_on(&mask, None, Cores::All, Pin::Yes), pinned(&[2, 3, 6, 7]));
        assert_eq!(plan_on(&mask, Some(1.5), Cores::All, Pin::Yes), pinned(&[2, 3]));
        assert_eq!(plan_on(&mask, Some(0.2), Cores::All, Pin::Yes), pinned(&[2]));
        assert_eq!(plan_on(&mask, Some(64.0), Cores::Count(3), Pin::Yes), pinned(&[2, 3, 6]));
    }

    #[test]
    fn more_shards_than_cpus_need_no_pin() {
        let mask = [0, 1];
        let refused = plan_on(&mask, None, Cores::Count(8), Pin::Yes).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--cores 8: this process may use 2 CPUs (CPU affinity mask); use --cores 2, or --no-pin to run more shards than CPUs"
        );
        assert_eq!(plan_on(&mask, None, Cores::Count(8), Pin::No), Ok(Plan { cpus: vec![None; 8] }));
        assert_eq!(plan_on(&mask, None, Cores::Count(0), Pin::No), Err(PlanError::OutOfRange(0)));
    }
}
