//! What this process's control groups permit (cgroups(7), both versions): its own group counts, and every group
//! above it.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// CPUs' worth of time per period; None if unlimited or unreadable.
pub fn cpu_quota() -> Option<f64> {
    let v1 = |group: &PathBuf| {
        let [quota, period] = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| read(group, file));
        parse_cpu_max(&format!("{} {}", quota?, period?))
    };
    let v2 = |group: &PathBuf| parse_cpu_max(&read(group, "cpu.max")?);
    groups("").iter().filter_map(v2).chain(groups("cpu").iter().filter_map(v1)).reduce(f64::min)
}

/// Bytes of memory; None if unlimited or unreadable.
pub fn memory_bytes() -> Option<u64> {
    let both = [("", "memory.max"), ("memory", "memory.limit_in_bytes")];
    let limits = both.into_iter().flat_map(|(controller, file)| {
        groups(controller).into_iter().filter_map(move |group| read(&group, file)?.parse().ok())
    });
    limits.min()
}

fn read(group: &Path, file: &str) -> Option<String> {
    fs::read_to_string(group.join(file)).ok().map(|text| text.trim().to_owned())
}

/// This process's group and those above it, of a controller of version 1, or of version 2, which names none.
fn groups(controller: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new(ROOT).join(controller);
    // A container may be told the host's path, of which it sees the end only: what is not there is passed by.
    let path = own_path(&own, controller).unwrap_or("/");
    let own = root.join(path.trim_start_matches('/'));
    own.ancestors().take_while(|group| group.starts_with(&root)).map(Path::to_owned).collect()
}

/// The path in `/proc/self/cgroup`, whose lines are `number:controllers:path`.
fn own_path<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// `"max 100000"` or `"250000 100000"`: quota and period in µs (`cpu.max`, and cgroup v1's two files joined).
fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok().filter(|q| *q > 0.0)?;
    let period: f64 = words.next()?.parse().ok().filter(|p| *p > 0.0)?;
    Some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_in_both_versions() {
        let text = "5:cpu,cpuacct:/a/b\n4:memory:/c\n0::/user.slice/x\n";
        assert_eq!(own_path(text, "cpu"), Some("/a/b"));
        assert_eq!(own_path(text, "memory"), Some("/c"));
        assert_eq!(own_path(text, ""), Some("/user.slice/x"));
        assert_eq!(own_path(text, "pids"), None);
        assert!(groups("").contains(&PathBuf::from(ROOT)), "the topmost one counts");
    }

    #[test]
    fn cpu_max_is_read_in_both_forms() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("250000 100000\n"), Some(2.5));
        assert_eq!(parse_cpu_max("-1 100000"), None);
        assert_eq!(parse_cpu_max("garbage"), None);
    }
}
