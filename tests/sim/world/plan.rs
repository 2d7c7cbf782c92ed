//! What a run is made of, drawn from its seed: settings, publishes, viewers and their habits.

use super::*;

pub(super) fn settings(rng: &mut Rng, fat: bool) -> Settings {
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
        on_duplicate: if rng.percent(50) { OnDuplicate::Refuse } else { OnDuplicate::Takeover },
        hold_ms: rng.pick(&[0, 0, 0, 300, 1_500]),
        flv_tracks: None,
        atc_auto: false,
        fast_cache_ms: rng.pick(&[0, 0, 1_000]),
    }
}

impl World {
    pub(super) fn plan_session(&mut self, stream: usize, starts_ms: u64, ends_ms: u64) {
        let rng = &mut self.rng;
        let nonce = self.streams[stream].ledger.sessions.len() as u32;
        let style = Style::random(rng, self.fat);
        let most = style.most_bytes();
        let to = &mut self.streams[stream];
        to.most_bytes = (to.most_bytes.0.max(most.0), to.most_bytes.1.max(most.1));
        to.ledger.sessions.push(Vec::new());
        to.ledger.order.push(None);
        self.sessions.push(Session {
            stream,
            shard: rng.within(0, self.shards.len() as u64 - 1) as usize,
            source: None,
            state: State::Planned,
            starts_ms,
            ends_ms,
            hangs_ms: if rng.percent(10) { starts_ms + rng.within(0, 2_000) } else { u64::MAX },
            live_ms: 0,
            left_ms: 0,
            asked_ms: 0,
            settings: Arc::clone(&self.settings[rng.pick(&[0, 0, 1, 2])]),
            script: Script::new(nonce, style, rng),
            made: Vec::new(),
            made_at: 0,
            sent: 0,
            room: true,
            room_lost_ms: 0,
            uncredited: 0,
            most_bytes: most,
        });
    }

    pub(super) fn plan_watcher(&mut self, chaos_ms: u64, crowd: bool) {
        let rng = &mut self.rng;
        let habit = match rng.within(0, 9) {
            0..=4 => Habit::Prompt,
            5 | 6 => Habit::Slow { rate: rng.within(1, 200) as usize, buffer: rng.within(1, 8_000) as usize },
            7 | 8 => Habit::Moody,
            _ => Habit::Stuck { from_ms: self.now + rng.within(0, chaos_ms) },
        };
        let joins_ms = self.now + if rng.percent(20) { 0 } else { rng.within(0, chaos_ms) };
        let number = self.watchers.len();
        let rtmp = |chunk_bytes| Format::Rtmp { chunk_bytes };
        let format =
            rng.pick(&[rtmp(60_000), rtmp(60_000), rtmp(4_096), rtmp(128), Format::Flv, Format::Flv]);
        let format = if crowd { rtmp(60_000) } else { format };
        let stream = if crowd { 0 } else { rng.within(0, self.streams.len() as u64 - 1) };
        let shard = if crowd { 0 } else { rng.within(0, self.shards.len() as u64 - 1) };
        let pauses = rng.percent(15);
        let duration_ms = (!crowd && rng.percent(10)).then(|| rng.within(0, 4_000) as u32);
        let wanted = Wanted { bare: rng.percent(30), duration_ms };
        let (mut stream, mut shard, mut format, mut joins_ms) = (stream, shard, format, joins_ms);
        // Some come just when the only one there leaves: a subscription ends and another begins.
        if let Some(before) = self.watchers.last().filter(|w| w.leaves_ms < u64::MAX && rng.percent(50)) {
            (stream, shard, format) = (before.stream as u64, before.shard as u64, before.format);
            joins_ms = before.leaves_ms + rng.within(0, 30);
        }
        let stays_ms = if rng.percent(40) { rng.within(0, 60) } else { rng.within(0, chaos_ms) };
        let leaves_ms = if rng.percent(50) { joins_ms + stays_ms } else { u64::MAX };
        // Durations are RTMP's, bare bodies HTTP's.
        let wanted = if format.is_http() {
            Wanted { duration_ms: None, ..wanted }
        } else {
            Wanted { bare: false, ..wanted }
        };
        self.watchers.push(Watcher {
            stream: stream as usize,
            shard: shard as usize,
            format,
            id: None,
            wire: SimWire::default(),
            player: Player::new(number, format, wanted),
            wanted,
            habit,
            joins_ms,
            leaves_ms,
            paused: false,
            pauses,
            ever_paused: false,
            moody_until: 0,
            moody_open: true,
            to_tell: false,
            parked_since: None,
            settings: Arc::clone(&self.settings[rng.pick(&[0, 0, 1, 2])]),
            gone: false,
            reset: rng.percent(2),
        });
    }
}
