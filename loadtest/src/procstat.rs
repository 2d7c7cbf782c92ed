//! What the kernel says of processes and of TCP: CPU time, memory (proc(5)).

use crate::net;
use serde::Serialize;
use std::fs;
use std::io;

/// User plus system time of a process and its threads, in seconds, to a clock tick (10 ms).
pub(crate) fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| io::Error::other(format!("cannot read /proc/{pid}/stat")))?;
    Ok(ticks as f64 / net::clock_ticks_per_second() as f64)
}

/// The same of several; `None` if there are none, or one is gone.
pub(crate) fn cpu_seconds_of(pids: &[u32]) -> Option<f64> {
    let all = pids.iter().map(|&pid| cpu_seconds(pid).ok()).sum::<Option<f64>>()?;
    (!pids.is_empty()).then_some(all)
}

/// Resident memory of several processes; `None` if there are none, or one is gone. Cheap: nothing is added up for it.
pub(crate) fn rss_bytes(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| statm_rss_bytes(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?);
    let all = pids.iter().map(of).sum::<Option<u64>>()?;
    (!pids.is_empty()).then_some(all)
}

fn statm_rss_bytes(statm: &str) -> Option<u64> {
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * net::page_bytes())
}

/// Fields 14 and 15, counted behind the command name, which may hold spaces and brackets itself.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU seconds that the whole machine has been busy since it started, a hypervisor's theft among them.
pub(crate) fn machine_busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_ticks(&stat) as f64 / net::clock_ticks_per_second() as f64
}

/// user, nice, system, irq, softirq, steal; not idle and iowait, and guest time is part of user.
fn busy_ticks(stat: &str) -> u64 {
    let line = stat.lines().find_map(|l| l.strip_prefix("cpu ")).unwrap_or_default();
    let fields = line.split_ascii_whitespace().take(8).enumerate().filter(|(i, _)| ![3, 4].contains(i));
    fields.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

/// Memory of a process in bytes; PSS and anonymous memory are 0 where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss_bytes: u64,
    /// Resident, shared pages divided by those who share them.
    pub(crate) pss_bytes: u64,
    /// Anonymous: heap and stacks, without the program's text.
    pub(crate) anonymous_bytes: u64,
}

impl std::ops::AddAssign for Memory {
    fn add_assign(&mut self, other: Memory) {
        self.rss_bytes += other.rss_bytes;
        self.pss_bytes += other.pss_bytes;
        self.anonymous_bytes += other.anonymous_bytes;
    }
}

/// Memory of a process.
pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    if let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        return Ok(rollup_memory(&rollup));
    }
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    Ok(Memory { rss_bytes: statm_rss_bytes(&statm).unwrap_or(0), ..Memory::default() })
}

fn rollup_memory(rollup: &str) -> Memory {
    let bytes = |name: &str| {
        let line = rollup.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Memory { rss_bytes: bytes("Rss"), pss_bytes: bytes("Pss"), anonymous_bytes: bytes("Anonymous") }
}

/// Bytes of kernel memory that all TCP sockets of this network namespace's host hold.
pub(crate) fn tcp_memory_bytes() -> u64 {
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    tcp_pages(&sockstat).unwrap_or(0) * net::page_bytes()
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|l| l.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|w| *w == "mem")?;
    words.next()?.parse().ok()
}

/// A process and all its descendants: a server may be a master with workers.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    found
}

/// CPU time of a set of processes since a moment, and their memory.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pids: Vec<u32>,
    cpu_at_start: f64,
}

impl Watch {
    /// Starts to watch. Fails if one of the processes is not there.
    pub(crate) fn start(pids: &[u32]) -> io::Result<Watch> {
        let mut cpu_at_start = 0.0;
        for &pid in pids {
            cpu_at_start +=
                cpu_seconds(pid).map_err(|e| io::Error::new(e.kind(), format!("process {pid}: {e}")))?;
        }
        Ok(Watch { pids: pids.to_vec(), cpu_at_start })
    }

    /// CPU seconds since the start and memory now; `None` if a process is gone.
    pub(crate) fn read(&self) -> Option<(f64, Memory)> {
        // All times first: to add up a large process's memory takes milliseconds.
        let mut cpu = 0.0;
        for &pid in &self.pids {
            cpu += cpu_seconds(pid).ok()?;
        }
        let mut sum = Memory::default();
        for &pid in &self.pids {
            sum += memory(pid).ok()?;
        }
        Some((cpu - self.cpu_at_start, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_hostile_name() {
        let stat = "42 (a) b (c) R 1 42 42 0 -1 4194304 100 0 0 0 170 30 5 6 20 0 1 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(200), "user and system, without the children's");
        assert_eq!(cpu_ticks("42 (a) R 1"), None);
    }

    #[test]
    fn a_machine_is_busy_with_all_but_idle_and_waiting() {
        let stat = "cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), 87_600_321);
        assert_eq!(busy_ticks(""), 0);
    }

    #[test]
    fn memory_from_a_rollup() {
        let text = "5590-7ffc ---p 00000000 00:00 0 [rollup]\nRss:     3416 kB\nPss:     1211 kB\n\
                    Pss_Anon:  500 kB\nAnonymous:    604 kB\n";
        let found = rollup_memory(text);
        let kib = [found.rss_bytes, found.pss_bytes, found.anonymous_bytes].map(|b| b / 1024);
        assert_eq!(kib, [3416, 1211, 604]);
    }

    #[test]
    fn tcp_memory_from_sockstat() {
        let text = "sockets: used 300\nTCP: inuse 5 orphan 0 tw 2 alloc 8 mem 17\nUDP: inuse 1 mem 3\n";
        assert_eq!(tcp_pages(text), Some(17));
        assert_eq!(tcp_pages("UDP: inuse 1 mem 3\n"), None);
    }

    #[test]
    fn a_family_has_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let found = family(std::process::id());
        child.kill().expect("the child is there");
        child.wait().expect("the child ends");
        assert_eq!(found[0], std::process::id());
        assert!(found.contains(&child.id()), "{found:?}");
    }

    #[test]
    fn this_process_can_be_watched() {
        let watch = Watch::start(&[std::process::id()]).expect("own process is there");
        let (cpu, memory) = watch.read().expect("own process is there");
        assert!(cpu >= 0.0 && memory.rss_bytes > 0);
        assert!(Watch::start(&[u32::MAX]).is_err());
    }
}
