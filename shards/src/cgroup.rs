//! What this process's control groups permit (cgroups(7)): its own group and every group above it count.

use std::fs;
use std::path::PathBuf;

const ROOT: &str = "/sys/fs/cgroup";

/// CPUs' worth of time per period; None if unlimited or unreadable.
pub fn cpu_quota() -> Option<f64> {
    let v2 = limits("cpu.max").iter().filter_map(|text| parse_cpu_max(text)).reduce(f64::min);
    v2.or_else(|| {
        let read = |file| fs::read_to_string(format!("{ROOT}/cpu/{file}")).ok();
        parse_cpu_max(&format!("{} {}", read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim()))
    })
}

/// Bytes of memory; None if unlimited or unreadable.
pub fn memory_bytes() -> Option<u64> {
    let v1 = fs::read_to_string(format!("{ROOT}/memory/memory.limit_in_bytes")).ok();
    limits("memory.max").into_iter().chain(v1).filter_map(|text| text.trim().parse().ok()).min()
}

/// What `file` holds in this process's group (cgroup v2) and in each one above it.
fn limits(file: &str) -> Vec<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let mut group = PathBuf::from(format!("{ROOT}{path}"));
    let mut found = Vec::new();
    while group.starts_with(ROOT) {
        found.extend(fs::read_to_string(group.join(file)));
        if !group.pop() {
            break;
        }
    }
    found
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
    fn cpu_max_is_read_in_both_forms() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("250000 100000\n"), Some(2.5));
        assert_eq!(parse_cpu_max("-1 100000"), None);
        assert_eq!(parse_cpu_max("garbage"), None);
    }
}
