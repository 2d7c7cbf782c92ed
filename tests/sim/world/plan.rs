//! What a run is made of, drawn from its seed: shards, vhosts, streams, publishes, viewers and their habits.

use super::*;
use crate::network::CreditHabit;
use crate::script::{Script, Style};
use ahash::RandomState;
use srs_shard::stream::encode::Format;
use srs_shard::stream::settings::{Cadence, OnDuplicate};
use srs_shard::stream::timeline::Jitter;
use srs_shard::stream::viewer::Wanted;

fn settings(rng: &mut Rng, fat: bool) -> Settings {
    let cadence = match rng.within(0, 9) {
        0..=4 => Cadence::Auto,
        5 | 6 => Cadence::MinLatency,
        _ => Cadence::Fixed { ms: rng.pick(&[0, 10, 40, 350]) },
    };
    Settings {
        gop_cache: rng.percent(80),
        gop_cache_max_ms: rng.pick(&[1_000, 3_000, 30_000, 30_000]),
        // Above twice the longest interval: a block and the wait for it.
        queue_length_ms: rng.pick(&[1_000, 2_000, 10_000, 30_000]),
        jitter: if rng.percent(85) { Jitter::Full } else { Jitter::Zero },
        cadence,
        send_min_interval_ms: rng.pick(&[0, 0, 0, 30]),
        reduce_sequence_header: rng.percent(50),
        feed_max_bytes: if fat { 32 << 20 } else { rng.pick(&[16 << 10, 64 << 10, 32 << 20, 32 << 20]) },
        stale_after_ms: rng.pick(&[500, 3_000]),
        on_duplicate: if rng.percent(if fat { 20 } else { 50 }) {
            OnDuplicate::Refuse
        } else {
            OnDuplicate::Takeover
        },
        hold_ms: rng.pick(&[0, 0, 0, 300, 1_500]),
        flv_tracks: None,
        atc_auto: false,
        fast_cache_ms: rng.pick(&[0, 0, 1_000]),
    }
}

/// The lengths of stalls, in ms, in most runs and where windows are to fill, which are two seconds long.
fn stalls(rng: &mut Rng, fat: bool) -> Stalls {
    let lengths_ms: &[u64] = match rng.within(0, 9) {
        0..=2 => &[],
        _ if fat => &[600, 3_000, 5_000],
        3..=7 => &[10, 100, 600],
        8 => &[100, 600, 1_500],
        _ => &[1_500, 5_000],
    };
    Stalls { lengths_ms, one_by_one: fat, worst_ms: 0 }
}

impl World {
    /// Everything that a seed brings, what is cut left out.
    pub(crate) fn new(seed: u64, cut: &Cut) -> World {
        let mut rng = Rng::of(seed, "world", 0);
        let shards = rng.within(2, 8) as usize;
        let fat = rng.percent(8);
        let crowd = !fat && rng.percent(2);
        let chaos_ms = if crowd { 2_000 } else { rng.within(if fat { 5_000 } else { 2_000 }, 7_000) };
        let streams = rng.pick(if crowd || fat { &[1, 2] } else { &[1, 1, 2, 2, 3, 3, 4, 12] });
        let owners: Vec<u16> = (0..streams).map(|_| rng.within(0, shards as u64 - 1) as u16).collect();
        let mut stalls = stalls(&mut rng, fat);
        let mut delay_ms = rng.pick(&[0, 3, 20, 200]);
        let mut credit = CreditHabit::default();
        if rng.percent(if fat { 50 } else { 5 }) {
            credit =
                CreditHabit { late_ms: rng.pick(&[0, 300, 1_500, 3_000]), crumbs: rng.pick(&[1, 3, 40]) };
        }
        if cut.has(Part::Fault(Fault::Stalls)) {
            stalls.lengths_ms = &[];
        }
        if cut.has(Part::Fault(Fault::Delays)) {
            delay_ms = 0;
        }
        if cut.has(Part::Fault(Fault::LateCredit)) {
            credit = CreditHabit::default();
        }
        stalls.worst_ms = credit.late_ms;
        let mut network = Network::new(shards);
        network.credit = credit;
        let mut world = World {
            seed,
            cut: cut.clone(),
            now: 1_000,
            steps: 0,
            shards: (0..shards).map(|me| shard(me, &owners, seed)).collect(),
            network,
            accounts: Accounts::default(),
            vhosts: Vec::new(),
            streams: Vec::new(),
            sessions: Vec::new(),
            watchers: Vec::new(),
            delay_ms,
            worst_delay_ms: delay_ms,
            stalls,
            chaos_ms: cut.chaos_ms.unwrap_or(chaos_ms),
            calm: false,
            calm_ms: 0,
            tally: Tally::default(),
            rng,
        };
        let vhosts = world.rng.within(1, 3.min(streams)) as usize;
        for n in 0..vhosts {
            world.plan_vhost(n, fat && n == 0, chaos_ms);
        }
        for (n, owner) in owners.into_iter().enumerate() {
            world.plan_stream(n, n % vhosts, owner.into(), fat && n == 0, chaos_ms);
        }
        let (fewest, most) = if crowd { (260, 300) } else { (1, 10.max(2 * streams)) };
        for _ in 0..world.rng.within(fewest, most) {
            world.plan_watcher(chaos_ms, crowd);
        }
        world
    }

    fn plan_vhost(&mut self, n: usize, fat: bool, chaos_ms: u64) {
        let rng = &mut Rng::of(self.seed, "vhost", n);
        let first = Arc::new(settings(rng, fat));
        let changes = if rng.percent(30) { rng.within(1, 3) } else { 0 };
        let mut reloads: Vec<_> = (0..changes)
            .map(|_| (self.now + rng.within(0, chaos_ms), Arc::new(settings(rng, fat))))
            .collect();
        reloads.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        if self.cut.has(Part::Fault(Fault::Reloads)) {
            reloads.clear();
        }
        self.vhosts.push(Vhost { settings: Arc::clone(&first), ever: vec![first], reloads });
    }

    fn plan_stream(&mut self, n: usize, vhost: usize, owner: usize, fat: bool, chaos_ms: u64) {
        let mut rng = Rng::of(self.seed, "stream", n);
        let key = format!("v{vhost}/app/{n}").into();
        let ledger = Ledger::default();
        self.streams.push(Stream { key, vhost, owner, fat, lagged: false, ledger, most_bytes: (0, 0) });
        let mut at = self.now + rng.within(0, 1500);
        for _ in 0..rng.within(1, 4) {
            let lasts = rng.within(0, chaos_ms);
            self.plan_session(n, at, at + lasts);
            // Overlapping, back to back, or with a pause.
            at += match rng.within(0, 2) {
                _ if fat => rng.within(0, lasts),
                0 => rng.within(0, lasts),
                1 => lasts + rng.within(0, 30),
                _ => lasts + rng.within(0, 1_500),
            };
        }
    }

    pub(super) fn plan_session(&mut self, stream: usize, starts_ms: u64, ends_ms: u64) {
        let number = self.sessions.len();
        let mut rng = Rng::of(self.seed, "session", number);
        let to = &mut self.streams[stream];
        let nonce = to.ledger.sessions.len() as u32;
        let style = Style::random(&mut rng, to.fat);
        let most = style.most_bytes();
        to.most_bytes = (to.most_bytes.0.max(most.0), to.most_bytes.1.max(most.1));
        to.ledger.sessions.push(Vec::new());
        to.ledger.order.push(None);
        let (hangs, hangs_ms) = (rng.percent(10), starts_ms + rng.within(0, 2_000));
        let hangs = hangs && !self.calm && self.cut.keeps(Fault::Silence);
        let (breaks, bomb_ms) = (rng.percent(2), starts_ms + rng.within(0, 2_000));
        let breaks = breaks && !self.calm && self.cut.keeps(Fault::Panics);
        let is_cut = self.cut.has(Part::Session(number)) || self.cut.has(Part::Stream(stream));
        self.sessions.push(Session {
            stream,
            shard: rng.within(0, self.shards.len() as u64 - 1) as usize,
            source: None,
            state: if is_cut { State::Over } else { State::Planned },
            starts_ms,
            ends_ms,
            hangs_ms: if hangs { hangs_ms } else { u64::MAX },
            bomb_ms: if breaks { bomb_ms } else { u64::MAX },
            live_ms: 0,
            left_ms: 0,
            asked_ms: 0,
            script: Script::new(nonce, style, &mut rng),
            made: Vec::new(),
            made_at: 0,
            sent: 0,
            room: true,
            room_lost_ms: 0,
            uncredited: 0,
            most_bytes: most,
            rng,
        });
    }

    /// About when a publish of a stream begins or ends.
    fn moment(&self, stream: usize, rng: &mut Rng) -> u64 {
        let of: Vec<&Session> = self.sessions.iter().filter(|session| session.stream == stream).collect();
        let session = rng.pick(&of);
        let at = if rng.percent(50) { session.starts_ms } else { session.ends_ms };
        at.saturating_sub(10) + rng.within(0, 30 + self.delay_ms)
    }

    fn plan_watcher(&mut self, chaos_ms: u64, crowd: bool) {
        let number = self.watchers.len();
        let rng = &mut Rng::of(self.seed, "viewer", number);
        let habit = match rng.within(0, 9) {
            0..=4 => Habit::Prompt,
            5 | 6 => {
                Habit::Slow { rate: rng.pick(&[1, 2, 5, 20, 200]), buffer: rng.within(1, 8_000) as usize }
            }
            7 | 8 => Habit::Moody,
            _ => Habit::Stuck { from_ms: self.now + rng.within(0, chaos_ms) },
        };
        let rtmp = |chunk_bytes| Format::Rtmp { chunk_bytes };
        let formats = [
            rtmp(60_000),
            rtmp(60_000),
            rtmp(4_096),
            rtmp(128),
            Format::Flv,
            Format::Flv,
            Format::Ts,
            Format::Ts,
            Format::Aac,
        ];
        let mut format = if crowd { rtmp(60_000) } else { rng.pick(&formats) };
        let mut stream = if crowd { 0 } else { rng.within(0, self.streams.len() as u64 - 1) as usize };
        let mut shard = if crowd { 0 } else { rng.within(0, self.shards.len() as u64 - 1) as usize };
        let mut joins_ms = self.now + if rng.percent(20) { 0 } else { rng.within(0, chaos_ms) };
        let races = !crowd && rng.percent(30);
        // Some come just when the only one there leaves: a subscription ends and another begins.
        if let Some(before) = self.watchers.last().filter(|w| w.leaves_ms < u64::MAX && rng.percent(50)) {
            (stream, shard, format) = (before.stream, before.shard, before.format);
            joins_ms = before.leaves_ms + rng.within(0, 30);
        } else if races {
            joins_ms = self.moment(stream, rng);
        }
        let stays_ms = if rng.percent(40) { rng.within(0, 60) } else { rng.within(0, chaos_ms) };
        let leaves_ms = match (races, rng.percent(50)) {
            (true, true) => self.moment(stream, rng).max(joins_ms),
            (_, true) => joins_ms + stays_ms,
            _ => u64::MAX,
        };
        // Durations are RTMP's, bodies without chunks HTTP's; where a frame ends in a transport stream the
        // player reads from the chunks.
        let duration_ms = (!crowd && rng.percent(10)).then(|| rng.within(0, 4_000) as u32);
        let bare = rng.percent(30);
        let wanted = match format {
            Format::Rtmp { .. } => Wanted { bare: false, duration_ms },
            Format::Ts => Wanted::default(),
            _ => Wanted { bare, duration_ms: None },
        };
        let (breaks, pauses, reset) = (!crowd && rng.percent(2), rng.percent(15), rng.percent(2));
        let breaks_at = rng.within(1, 60);
        let watcher = self.watcher(stream, shard, format, wanted, joins_ms);
        if breaks && self.cut.keeps(Fault::Panics) {
            let target = bomb::Target::Feed { stream, shard, format };
            watcher.wire.0.borrow_mut().bomb = Some((breaks_at, target));
        }
        self.watchers.push(Watcher {
            habit: if self.cut.keeps(Fault::SlowViewers) { habit } else { Habit::Prompt },
            leaves_ms,
            pauses: pauses && self.cut.keeps(Fault::Pauses),
            gone: self.cut.has(Part::Viewer(number)) || self.cut.has(Part::Stream(stream)),
            reset: reset && self.cut.keeps(Fault::Resets),
            ..watcher
        });
    }

    /// A line for everybody who takes part.
    pub(super) fn cast(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} shards, posts take up to {} ms, {:?}, stalls of {:?} ms",
            self.shards.len(),
            self.delay_ms,
            self.network.credit,
            self.stalls.lengths_ms
        )];
        let streams = self.streams.iter().enumerate().filter(|(n, _)| !self.cut.has(Part::Stream(*n)));
        lines.extend(streams.map(|(_, s)| {
            format!("stream {} on shard {}: {:?}", s.key, s.owner, self.vhosts[s.vhost].settings)
        }));
        let sessions = self.sessions.iter().enumerate().filter(|(_, session)| session.state != State::Over);
        lines.extend(sessions.map(|(n, s)| {
            let key = &self.streams[s.stream].key;
            format!(
                "session {n} of {key} on shard {}, {} to {} ms: {:?}",
                s.shard, s.starts_ms, s.ends_ms, s.script.style
            )
        }));
        let watchers = self.watchers.iter().enumerate().filter(|(_, watcher)| !watcher.gone);
        lines.extend(watchers.map(|(n, w)| {
            let (key, until) = (&self.streams[w.stream].key, w.leaves_ms as i64);
            let Watcher { shard, format, wanted, habit, joins_ms, .. } = w;
            format!("viewer {n} of {key} on shard {shard}, {joins_ms} to {until} ms: {format:?} {wanted:?} {habit:?}")
        }));
        lines
    }
}

fn shard(me: usize, owners: &[u16], seed: u64) -> Shard {
    let owners = owners.to_vec();
    let owner_of = move |key: &str| {
        let number: usize = key.rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or(0);
        owners[number]
    };
    let rng = &mut Rng::of(seed, "hash", 0);
    let seeds = RandomState::with_seeds(rng.next(), rng.next(), rng.next(), rng.next());
    Shard {
        hub: Hub::new(me as u16, owner_of, seeds),
        stalled_until: 0,
        touched: false,
        reloaded: false,
        trimmed: 0,
        next_ms: None,
        sweep_ms: Rng::of(seed, "sweep", me).within(0, 249),
        auto_ms: 0,
    }
}
