//! What the machine and this process do, from the texts of `/proc` (proc(5)).
//!
//! [`ProcTexts::read`] is the only part with I/O: it blocks for some hundred microseconds, so it is not for a
//! shard's thread. [`Sample::parse`] is pure; two samples make a [`Report`] with rates. What a kernel or container
//! does not tell is `None` or 0, and the report's `ok` says so.

use std::fs;

/// Clock ticks per second in `/proc`: USER_HZ, 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Threads of the process whose context switches are added up.
const MAX_TASKS: usize = 1024;
/// Page size assumed for resident memory, in KiB, as SRS assumes it.
const PAGE_KBYTES: u64 = 4;

/// Names of the fields of `/proc/self/stat` behind the state, in order; SRS's JSON keys.
pub const SELF_STAT_FIELDS: [&str; 41] = [
    "ppid",
    "pgrp",
    "session",
    "tty_nr",
    "tpgid",
    "flags",
    "minflt",
    "cminflt",
    "majflt",
    "cmajflt",
    "utime",
    "stime",
    "cutime",
    "cstime",
    "priority",
    "nice",
    "num_threads",
    "itrealvalue",
    "starttime",
    "vsize",
    "rss",
    "rsslim",
    "startcode",
    "endcode",
    "startstack",
    "kstkesp",
    "kstkeip",
    "signal",
    "blocked",
    "sigignore",
    "sigcatch",
    "wchan",
    "nswap",
    "cnswap",
    "exit_signal",
    "processor",
    "rt_priority",
    "policy",
    "delayacct_blkio_ticks",
    "guest_time",
    "cguest_time",
];

/// The texts, as the kernel wrote them; empty where a file cannot be read.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ProcTexts {
    pub stat: String,
    pub meminfo: String,
    pub loadavg: String,
    pub uptime: String,
    pub vmstat: String,
    pub diskstats: String,
    /// Whose lines of it count; all, if it names none.
    pub disks: Vec<String>,
    pub net_dev: String,
    pub net_route: String,
    pub net_sockstat: String,
    pub net_snmp: String,
    pub self_stat: String,
    pub self_status: String,
    pub self_io: String,
    /// `/proc/self/task/*/status`.
    pub task_status: Vec<String>,
    /// `/sys/devices/system/cpu/possible`.
    pub cpu_possible: String,
    /// `/sys/devices/system/cpu/online`.
    pub cpu_online: String,
}

impl ProcTexts {
    /// Reads them all. Blocks.
    pub fn read(disks: &[String]) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().take(MAX_TASKS);
        Self {
            stat: text("/proc/stat"),
            meminfo: text("/proc/meminfo"),
            loadavg: text("/proc/loadavg"),
            uptime: text("/proc/uptime"),
            vmstat: text("/proc/vmstat"),
            diskstats: text("/proc/diskstats"),
            disks: disks.to_vec(),
            net_dev: text("/proc/net/dev"),
            net_route: text("/proc/net/route"),
            net_sockstat: text("/proc/net/sockstat"),
            net_snmp: text("/proc/net/snmp"),
            self_stat: text("/proc/self/stat"),
            self_status: text("/proc/self/status"),
            self_io: text("/proc/self/io"),
            task_status: tasks
                .map(|task| fs::read_to_string(task.path().join("status")).unwrap_or_default())
                .collect(),
            cpu_possible: text("/sys/devices/system/cpu/possible"),
            cpu_online: text("/sys/devices/system/cpu/online"),
        }
    }
}

/// The `cpu` line of `/proc/stat`, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CpuTicks {
    pub user: u64,
    pub nice: u64,
    pub sys: u64,
    pub idle: u64,
    pub iowait: u64,
    pub irq: u64,
    pub softirq: u64,
    pub steal: u64,
    pub guest: u64,
}

impl CpuTicks {
    /// All ticks; guest time is part of user time already.
    pub const fn total(&self) -> u64 {
        self.user + self.nice + self.sys + self.idle + self.iowait + self.irq + self.softirq + self.steal
    }
}

/// `/proc/self/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfStat {
    /// Process id.
    pub pid: i128,
    /// Name of the executable, without parentheses.
    pub comm: String,
    /// State, one letter.
    pub state: String,
    /// The rest, named by [`SELF_STAT_FIELDS`]; shorter on older kernels.
    pub fields: Vec<i128>,
}

impl SelfStat {
    /// A field by name; 0 if the kernel does not have it.
    pub fn field(&self, name: &str) -> i128 {
        let at = SELF_STAT_FIELDS.iter().position(|&f| f == name);
        at.and_then(|at| self.fields.get(at)).copied().unwrap_or(0)
    }

    /// Resident memory in KiB.
    pub fn resident_kbytes(&self) -> u64 {
        u64::try_from(self.field("rss")).unwrap_or(0).saturating_mul(PAGE_KBYTES)
    }

    fn cpu_ticks(&self) -> i128 {
        ["utime", "stime", "cutime", "cstime"].iter().map(|f| self.field(f)).sum()
    }
}

/// `/proc/meminfo`, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Memory {
    pub total: u64,
    pub free: u64,
    pub buffers: u64,
    pub cached: u64,
    pub swap_total: u64,
    pub swap_free: u64,
}

impl Memory {
    /// Total less free.
    pub const fn active(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// Active less what the kernel can give back at once.
    pub const fn real_in_use(&self) -> u64 {
        self.active().saturating_sub(self.buffers).saturating_sub(self.cached)
    }

    /// Fraction of memory really in use.
    pub fn ram_fraction(&self) -> f64 {
        ratio(self.real_in_use() as f64, self.total as f64)
    }

    /// Fraction of swap in use.
    pub fn swap_fraction(&self) -> f64 {
        ratio(self.swap_total.saturating_sub(self.swap_free) as f64, self.swap_total as f64)
    }
}

/// What `getrusage` would say, as far as `/proc` tells; fields that Linux does not maintain are always 0 there too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Usage {
    /// Ticks.
    pub user_ticks: u64,
    /// Ticks.
    pub system_ticks: u64,
    /// Highest resident memory, KiB.
    pub max_resident_kbytes: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    /// Blocks of 512 bytes.
    pub blocks_in: u64,
    /// Blocks of 512 bytes.
    pub blocks_out: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

impl Usage {
    /// CPU seconds in user mode.
    pub fn user_s(&self) -> f64 {
        self.user_ticks as f64 / TICKS_PER_SECOND
    }

    /// CPU seconds in the kernel.
    pub fn system_s(&self) -> f64 {
        self.system_ticks as f64 / TICKS_PER_SECOND
    }
}

/// Bytes over network devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Traffic {
    /// Of devices with a public network on link.
    pub public_recv_bytes: u64,
    pub public_send_bytes: u64,
    /// Of the others, loopback too.
    pub private_recv_bytes: u64,
    pub private_send_bytes: u64,
}

/// Sockets of the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sockets {
    pub tcp: u64,
    pub tcp_established: u64,
    pub tcp_time_wait: u64,
    pub udp: u64,
}

/// All texts at one moment, understood.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Sample {
    /// Wall clock, ms since 1970.
    pub at_ms: u64,
    pub cpu: Option<CpuTicks>,
    pub process: Option<SelfStat>,
    pub usage: Usage,
    pub memory: Option<Memory>,
    /// 1, 5 and 15 minutes.
    pub load: [f64; 3],
    pub uptime_s: f64,
    /// Summed over CPUs.
    pub idle_s: f64,
    pub traffic: Traffic,
    pub sockets: Sockets,
    /// KiB read from and written to disks since boot.
    pub disk_kbytes: (u64, u64),
    /// ms that the busiest disk spent on I/O since boot.
    pub disk_busy_ms: u64,
    pub cpus_possible: u32,
    pub cpus_online: u32,
}

impl Sample {
    /// Understands the texts; never fails, what is broken is absent.
    pub fn parse(texts: &ProcTexts, at_ms: u64) -> Self {
        let process = parse_self_stat(&texts.self_stat);
        let usage = parse_usage(texts, process.as_ref());
        let mut load = floats(&texts.loadavg);
        let mut uptime = floats(&texts.uptime);
        Self {
            at_ms,
            cpu: parse_cpu(&texts.stat),
            process,
            usage,
            memory: parse_memory(&texts.meminfo),
            load: [(); 3].map(|()| load.next().unwrap_or(0.0)),
            uptime_s: uptime.next().unwrap_or(0.0),
            idle_s: uptime.next().unwrap_or(0.0),
            traffic: parse_traffic(&texts.net_dev, &texts.net_route),
            sockets: parse_sockets(&texts.net_sockstat, &texts.net_snmp),
            disk_kbytes: (keyed(&texts.vmstat, "pgpgin"), keyed(&texts.vmstat, "pgpgout")),
            disk_busy_ms: parse_disk_busy(&texts.diskstats, &texts.disks),
            cpus_possible: count_cpus(&texts.cpu_possible),
            cpus_online: count_cpus(&texts.cpu_online),
        }
    }
}

/// Two samples in order of time, and what happened between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The older one.
    pub before: Sample,
    /// The latest.
    pub now: Sample,
}

impl Report {
    /// Takes a new sample; the latest becomes the older one.
    pub fn push(&mut self, sample: Sample) {
        self.before = std::mem::replace(&mut self.now, sample);
    }

    /// Whether everything that rates need is there.
    pub fn is_complete(&self) -> bool {
        let whole = |s: &Sample| s.cpu.is_some() && s.process.is_some() && s.memory.is_some();
        whole(&self.now) && whole(&self.before) && self.elapsed_s() > 0.0
    }

    /// CPU of this process: 1.0 is one core.
    pub fn process_cpu(&self) -> f64 {
        let ticks = |s: &Sample| s.process.as_ref().map_or(0, SelfStat::cpu_ticks);
        let spent = ticks(&self.now).saturating_sub(ticks(&self.before)).max(0);
        ratio(spent as f64 / TICKS_PER_SECOND, self.elapsed_s())
    }

    /// Share of the machine's CPU time that was not idle, 0 to 1.
    pub fn system_cpu(&self) -> f64 {
        let (Some(a), Some(b)) = (self.before.cpu, self.now.cpu) else { return 0.0 };
        let total = b.total().saturating_sub(a.total());
        let idle = b.idle.saturating_sub(a.idle).min(total);
        ratio((total - idle) as f64, total as f64)
    }

    /// KiB per second read from disks and written to them.
    pub fn disk_kbytes_per_s(&self) -> (u64, u64) {
        let rate = |a: u64, b: u64| ratio(b.saturating_sub(a) as f64, self.elapsed_s()) as u64;
        let (a, b) = (self.before.disk_kbytes, self.now.disk_kbytes);
        (rate(a.0, b.0), rate(a.1, b.1))
    }

    /// Share of time that the busiest disk was at work, 0 to 1.
    pub fn disk_busy(&self) -> f64 {
        let busy_ms = self.now.disk_busy_ms.saturating_sub(self.before.disk_busy_ms);
        ratio(busy_ms as f64 / 1000.0, self.elapsed_s()).min(1.0)
    }

    fn elapsed_s(&self) -> f64 {
        if self.before.at_ms == 0 {
            0.0
        } else {
            self.now.at_ms.saturating_sub(self.before.at_ms) as f64 / 1000.0
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn floats(text: &str) -> impl Iterator<Item = f64> + '_ {
    text.split_ascii_whitespace().map_while(|word| word.parse().ok()).filter(|x: &f64| x.is_finite())
}

/// The number behind a key at a line's start: `key value`, `key: value kB`.
fn keyed(text: &str, key: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(key)?;
        let rest = rest.strip_prefix(':').or_else(|| rest.starts_with([' ', '\t']).then_some(rest))?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    };
    text.lines().find_map(value).unwrap_or(0)
}

fn parse_cpu(stat: &str) -> Option<CpuTicks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // Bounded, so that no sum of them can overflow.
    let mut numbers = line
        .split_ascii_whitespace()
        .map_while(|word| word.parse::<u64>().ok())
        .map(|n| n.min(u64::MAX >> 8));
    let mut next = || numbers.next();
    let (user, nice, sys, idle) = (next()?, next()?, next()?, next()?);
    let mut rest = || next().unwrap_or(0);
    Some(CpuTicks {
        user,
        nice,
        sys,
        idle,
        iowait: rest(),
        irq: rest(),
        softirq: rest(),
        steal: rest(),
        guest: rest(),
    })
}

/// The name may hold spaces and parentheses, so the last `)` ends it.
fn parse_self_stat(text: &str) -> Option<SelfStat> {
    let (pid, rest) = text.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(") ")?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.to_owned();
    let number = |word: &str| {
        word.parse::<i64>().map(i128::from).or_else(|_| word.parse::<u64>().map(i128::from)).ok()
    };
    let fields = words.take(SELF_STAT_FIELDS.len()).map_while(number).collect();
    Some(SelfStat { pid: pid.parse().ok()?, comm: comm.to_owned(), state, fields })
}

fn parse_usage(texts: &ProcTexts, process: Option<&SelfStat>) -> Usage {
    let field = |name| u64::try_from(process.map_or(0, |p| p.field(name))).unwrap_or(0);
    let switches =
        |key| texts.task_status.iter().fold(0u64, |sum, text| sum.saturating_add(keyed(text, key)));
    Usage {
        user_ticks: field("utime"),
        system_ticks: field("stime"),
        max_resident_kbytes: keyed(&texts.self_status, "VmHWM"),
        minor_faults: field("minflt"),
        major_faults: field("majflt"),
        blocks_in: keyed(&texts.self_io, "read_bytes") / 512,
        blocks_out: keyed(&texts.self_io, "write_bytes") / 512,
        voluntary_switches: switches("voluntary_ctxt_switches"),
        involuntary_switches: switches("nonvoluntary_ctxt_switches"),
    }
}

fn parse_memory(text: &str) -> Option<Memory> {
    let memory = Memory {
        total: keyed(text, "MemTotal"),
        free: keyed(text, "MemFree"),
        buffers: keyed(text, "Buffers"),
        cached: keyed(text, "Cached"),
        swap_total: keyed(text, "SwapTotal"),
        swap_free: keyed(text, "SwapFree"),
    };
    (memory.total > 0).then_some(memory)
}

/// A device counts as public if a network that is not private is on its link.
fn parse_traffic(dev: &str, route: &str) -> Traffic {
    let mut traffic = Traffic::default();
    for line in dev.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        let mut counters = counters.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let (Some(received), Some(sent)) = (counters.next(), counters.nth(7)) else { continue };
        let (recv, send) = if has_public_network(route, name.trim()) {
            (&mut traffic.public_recv_bytes, &mut traffic.public_send_bytes)
        } else {
            (&mut traffic.private_recv_bytes, &mut traffic.private_send_bytes)
        };
        *recv = recv.saturating_add(received);
        *send = send.saturating_add(sent);
    }
    traffic
}

fn has_public_network(route: &str, device: &str) -> bool {
    route.lines().skip(1).any(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next() == Some(device);
        let mut hex = || words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
        let (Some(destination), Some(gateway)) = (hex(), hex()) else { return false };
        // Written as the machine holds network byte order in an integer.
        let network = std::net::Ipv4Addr::from(destination.to_ne_bytes());
        let is_local = network.is_private() || network.is_link_local() || network.is_loopback();
        name && gateway == 0 && destination != 0 && !is_local && !network.is_multicast()
    })
}

fn parse_sockets(sockstat: &str, snmp: &str) -> Sockets {
    let value = |kind: &str, key: &str| -> u64 {
        let line = sockstat.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        words.find(|&word| word == key);
        words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    // snmp has a line of names and one of values per protocol.
    let mut tcp = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let names = tcp.next().unwrap_or_default().split_ascii_whitespace();
    let values = tcp.next().unwrap_or_default().split_ascii_whitespace();
    let established = names.zip(values).find(|&(name, _)| name == "CurrEstab");
    let time_wait = value("TCP:", "tw");
    Sockets {
        tcp: value("TCP:", "alloc").saturating_add(time_wait),
        tcp_established: established.and_then(|(_, n)| n.parse().ok()).unwrap_or(0),
        tcp_time_wait: time_wait,
        udp: value("UDP:", "inuse"),
    }
}

/// Field 13 of a device's line: ms spent doing I/O; the highest of the devices that count. Field 3 is its name.
fn parse_disk_busy(diskstats: &str, disks: &[String]) -> u64 {
    let busy = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(2);
        let name = words.next()?;
        let counts = disks.is_empty() || disks.iter().any(|disk| disk == name);
        counts.then(|| words.nth(9)?.parse().ok()).flatten()
    };
    diskstats.lines().filter_map(busy).max().unwrap_or(0)
}

/// A list such as `0-3,8`.
fn count_cpus(list: &str) -> u32 {
    let count = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        Some(u32::from(last.checked_sub(first)?) + 1)
    };
    list.trim().split(',').filter_map(count).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts() -> ProcTexts {
        let own = |text: &str| text.to_owned();
        ProcTexts {
            stat: own("cpu  38125 1046 8164 367182 964 0 101 22 7 0\ncpu0 1 2 3 4\n"),
            meminfo: own(
                "MemTotal:  8000000 kB\nMemFree: 2000000 kB\nMemAvailable: 1 kB\nBuffers: 500000 kB\n\
                Cached: 1500000 kB\nSwapCached: 9 kB\nSwapTotal: 1000 kB\nSwapFree: 750 kB\n",
            ),
            loadavg: own("0.49 0.43 0.31 3/122 16412\n"),
            uptime: own("2084.51 3671.82\n"),
            vmstat: own("pgpgin 5225169\npgpgout 2414060\n"),
            diskstats: own(
                "   7 0 loop0 0 0 0 0 0 0 0 0 0 5 0 0 0 0\n 254 0 vda 9 8 7 6 5 4 3 2 1 4321 99\n",
            ),
            disks: Vec::new(),
            net_dev: own("Inter-| Receive\n face |bytes\n    lo: 20 1 0 0 0 0 0 0 21 1 0 0 0 0 0 0\n\
                eth0: 300 1 0 0 0 0 0 0 400 1 0 0 0 0 0 0\n eth1:5000 1 0 0 0 0 0 0 6000 1 0 0 0 0 0 0\n"),
            net_route: format!(
                "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\t0003\neth0\t{:08X}\t00000000\t0001\n\
                 eth1\t{:08X}\t00000000\t0001\n",
                u32::from_ne_bytes([203, 0, 113, 0]),
                u32::from_ne_bytes([10, 0, 0, 0]),
            ),
            net_sockstat: own(
                "sockets: used 26\nTCP: inuse 2 orphan 0 tw 5 alloc 12 mem 191\nUDP: inuse 3 mem 0\n",
            ),
            net_snmp: own("Tcp: RtoAlgorithm CurrEstab InSegs\nTcp: 1 11 22\n"),
            self_stat: own(
                "16410 (a) (b) R 16407 16407 8327 0 -1 4194304 104 0 3 0 250 50 10 0 20 0 9 0 208448 \
                2998272 395 18446744073709551615 1 2 3 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 94620214324240 5\n",
            ),
            self_status: own("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    1996 kB\n"),
            self_io: own("rchar: 6976\nread_bytes: 1024\nwrite_bytes: 4096\n"),
            task_status: vec![
                own("voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t1\n"),
                own("voluntary_ctxt_switches:\t4\nnonvoluntary_ctxt_switches:\t2\n"),
            ],
            cpu_possible: own("0-7\n"),
            cpu_online: own("0-3,6\n"),
        }
    }

    #[test]
    fn texts_are_understood() {
        let s = Sample::parse(&texts(), 1000);
        assert_eq!(s.cpu.map(|c| (c.user, c.idle, c.steal, c.guest)), Some((38125, 367_182, 22, 7)));
        let process = s.process.as_ref().unwrap();
        assert_eq!((process.pid, process.comm.as_str(), process.state.as_str()), (16410, "a) (b", "R"));
        assert_eq!(process.fields.len(), SELF_STAT_FIELDS.len());
        assert_eq!(process.field("rsslim"), i128::from(u64::MAX));
        assert_eq!((process.field("tpgid"), process.field("exit_signal")), (-1, 17));
        assert_eq!(process.resident_kbytes(), 395 * 4);
        let memory = s.memory.unwrap();
        assert_eq!((memory.active(), memory.real_in_use()), (6_000_000, 4_000_000));
        assert_eq!((memory.ram_fraction(), memory.swap_fraction()), (0.5, 0.25));
        assert_eq!((s.load, s.uptime_s, s.idle_s), ([0.49, 0.43, 0.31], 2084.51, 3671.82));
        assert_eq!(
            s.traffic,
            Traffic {
                public_recv_bytes: 300,
                public_send_bytes: 400,
                private_recv_bytes: 5020,
                private_send_bytes: 6021
            }
        );
        assert_eq!(s.sockets, Sockets { tcp: 17, tcp_established: 11, tcp_time_wait: 5, udp: 3 });
        assert_eq!((s.disk_kbytes, s.disk_busy_ms), ((5_225_169, 2_414_060), 4321));
        assert_eq!((s.cpus_possible, s.cpus_online), (8, 5));
        let u = s.usage;
        assert_eq!((u.user_s(), u.system_s(), u.max_resident_kbytes), (2.5, 0.5, 1996));
        assert_eq!((u.blocks_in, u.blocks_out, u.voluntary_switches, u.involuntary_switches), (2, 8, 7, 3));
    }

    #[test]
    fn two_samples_make_rates() {
        let mut report = Report::default();
        report.push(Sample::parse(&texts(), 1000));
        assert!(!report.is_complete());
        let mut later = texts();
        later.stat = "cpu  38425 1046 8164 367282 964 0 101 22 7 0\n".into();
        later.self_stat = later.self_stat.replace(" 250 50 ", " 350 100 ");
        later.vmstat = "pgpgin 5225369\npgpgout 2414060\n".into();
        later.diskstats = later.diskstats.replace("4321", "4821");
        report.push(Sample::parse(&later, 3000));
        assert!(report.is_complete());
        assert_eq!(report.process_cpu(), 0.75);
        assert_eq!(report.system_cpu(), 0.75);
        assert_eq!(report.disk_kbytes_per_s(), (100, 0));
        assert_eq!(report.disk_busy(), 0.25);
    }

    #[test]
    fn the_busiest_disk_is_one_of_those_that_count() {
        let busy = |disks: &[&str]| {
            let disks = disks.iter().map(|&disk| disk.to_owned()).collect();
            Sample::parse(&ProcTexts { disks, ..texts() }, 1).disk_busy_ms
        };
        assert_eq!([busy(&[]), busy(&["vda"]), busy(&["loop0"])], [4321, 4321, 5]);
        assert_eq!([busy(&["loop0", "sda"]), busy(&["vd"]), busy(&["vda", "loop0"])], [5, 0, 4321]);
    }

    #[test]
    fn nothing_readable_is_nothing_known() {
        let s = Sample::parse(&ProcTexts::default(), 5);
        assert_eq!(s, Sample { at_ms: 5, ..Sample::default() });
    }

    #[test]
    fn this_machine_is_understood() {
        let s = Sample::parse(&ProcTexts::read(&[]), 1);
        assert_eq!(s.process.unwrap().pid, i128::from(std::process::id()));
        assert!(s.memory.unwrap().total > 0 && s.cpu.unwrap().total() > 0);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z():.,0-9 \n-]{0,200}") {
            let mut t = texts();
            for field in [&mut t.stat, &mut t.meminfo, &mut t.loadavg, &mut t.net_dev, &mut t.net_route,
                &mut t.net_sockstat, &mut t.net_snmp, &mut t.self_stat, &mut t.diskstats, &mut t.cpu_online] {
                let kept = field.len() / 2;
                let head: String = field.chars().take(kept).collect();
                *field = head + &text;
            }
            let sample = Sample::parse(&t, 7);
            let mut report = Report::default();
            report.push(sample);
            report.push(Sample::parse(&texts(), 9));
            let _ = (report.process_cpu(), report.system_cpu(), report.disk_busy(), report.disk_kbytes_per_s());
        }
    }
}
