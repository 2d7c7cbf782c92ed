//! What a real client saw of a stream: its coded packets, each with its times and the hash of its bytes.
//!
//! ffmpeg's `framehash` lists them; formats that frame NAL units or AAC in another way are brought to one form
//! by ffmpeg's own bitstream filters, on both sides.

use super::tool::Tool;
use std::fmt::Write as _;

/// In which form packets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As FLV, RTMP and MP4 carry them.
    Whole,
    /// Annex B without parameter sets and delimiters, which a muxer repeats as it likes (and SEI of HEVC, which
    /// x265 puts beside the parameter sets); `from_ts`: the input is
    /// a transport stream.
    AnnexB { hevc: bool, from_ts: bool },
    /// AAC as it is in FLV, from ADTS.
    RawAac,
}

impl Form {
    fn filters(self, has_video: bool, has_aac: bool) -> Vec<String> {
        let pair = |stream: &str, filter: &str| vec![format!("-bsf:{stream}"), filter.to_owned()];
        match self {
            Form::Whole => Vec::new(),
            Form::RawAac => pair("a", "aac_adtstoasc"),
            Form::AnnexB { hevc, from_ts } => {
                let (to_annexb, sets) =
                    if hevc { ("hevc_mp4toannexb", "32-35|39-40") } else { ("h264_mp4toannexb", "7-9") };
                let drop_sets = format!("filter_units=remove_types={sets}");
                let mut all = Vec::new();
                if has_video && from_ts {
                    all.extend(pair("v", &drop_sets));
                } else if has_video {
                    all.extend(pair("v", &format!("{to_annexb},{drop_sets}")));
                }
                if has_aac && from_ts {
                    all.extend(pair("a", "aac_adtstoasc"));
                }
                all
            }
        }
    }
}

/// Which tracks an input has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Has {
    pub video: bool,
    pub aac: bool,
}

/// Starts ffmpeg to list the packets of a URL or file until its end.
pub fn watch(ffmpeg: &str, url: &str, form: Form, has: Has) -> Tool {
    let filters = form.filters(has.video, has.aac);
    let mut line = vec!["-hide_banner", "-loglevel", "warning", "-copyts", "-i", url, "-map", "0:v?"];
    line.extend(["-map", "0:a?", "-c", "copy"]);
    line.extend(filters.iter().map(String::as_str));
    line.extend(["-f", "framehash", "-hash", "md5", "-"]);
    Tool::start(ffmpeg, &line)
}

/// A coded packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// In ticks of 1/90000 s.
    pub dts: i64,
    /// In ticks of 1/90000 s.
    pub pts: i64,
    /// MD5 of its bytes.
    pub hash: String,
}

/// Video and audio packets, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub video: Vec<Packet>,
    pub audio: Vec<Packet>,
}

/// 90 ticks.
pub const MS: i64 = 90;

impl Seen {
    /// Lists a file's packets.
    pub fn of_file(ffmpeg: &str, file: &str, form: Form, has: Has) -> Seen {
        Seen::parse(&watch(ffmpeg, file, form, has).finished())
    }

    /// Reads a `framehash` list.
    pub fn parse(list: &[u8]) -> Seen {
        let text = std::str::from_utf8(list).expect("text");
        let mut seen = Seen::default();
        let (mut ticks, mut is_video) = (Vec::new(), Vec::new());
        for line in text.lines() {
            if let Some(base) = line.strip_prefix("#tb ") {
                let (_, base) = base.split_once(": ").expect("a time base");
                let (up, down) = base.split_once('/').expect("a fraction");
                let number = |text: &str| text.parse::<i64>().expect("a number");
                ticks.push((number(up) * 90_000, number(down)));
            } else if let Some(kind) = line.strip_prefix("#media_type ") {
                is_video.push(kind.ends_with("video"));
            } else if !line.starts_with('#') {
                let fields: Vec<&str> = line.split(',').map(str::trim).collect();
                // Side data may follow.
                let [stream, dts, pts, _duration, _size, hash, ..] = fields[..] else { panic!("{line}") };
                let stream: usize = stream.parse().expect("a stream");
                let (up, down) = ticks[stream];
                let time =
                    |text: &str| (text.parse::<i64>().expect("a time") * up + down / 2).div_euclid(down);
                let packet = Packet { dts: time(dts), pts: time(pts), hash: hash.to_owned() };
                if is_video[stream] { seen.video.push(packet) } else { seen.audio.push(packet) }
            }
        }
        seen
    }

    /// The same, from its `video`-th picture and `audio`-th frame on.
    pub fn from(&self, video: usize, audio: usize) -> Seen {
        Seen { video: self.video[video..].to_vec(), audio: self.audio[audio..].to_vec() }
    }

    /// The first audio packet or picture by dts.
    fn start(&self) -> Option<i64> {
        self.video.first().into_iter().chain(self.audio.first()).map(|packet| packet.dts).min()
    }

    /// Asserts that both are the same packets in the same order, none missing, none twice, and that all times of
    /// both tracks differ by one and the same shift: steps, composition offsets and the offset of audio to video
    /// are kept. Returns the shift. `grace`: ticks by which a format's time base may be off.
    #[track_caller]
    pub fn assert_same(&self, published: &Seen, grace: i64, what: &str) -> i64 {
        let tracks = [("video", &self.video, &published.video), ("audio", &self.audio, &published.audio)];
        let shift = match (self.start(), published.start()) {
            (Some(ours), Some(theirs)) => ours - theirs,
            (None, None) => 0,
            _ => panic!(
                "{what}: {} and {} packets instead of {} and {}",
                self.video.len(),
                self.audio.len(),
                published.video.len(),
                published.audio.len()
            ),
        };
        for (track, ours, theirs) in tracks {
            if let Some(trouble) = difference(ours, theirs, shift, grace) {
                panic!("{what}: {track}, shift {} ms: {trouble}", shift as f64 / MS as f64);
            }
        }
        shift
    }

    /// Asserts the same packets in the same order, for formats that carry no times.
    #[track_caller]
    pub fn assert_same_bytes(&self, published: &Seen, what: &str) {
        let bytes = |packets: &[Packet]| packets.iter().map(|p| p.hash.clone()).collect::<Vec<_>>();
        assert!(bytes(&self.video) == bytes(&published.video), "{what}: video differs");
        let (ours, theirs) = (bytes(&self.audio), bytes(&published.audio));
        let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        let lengths = (ours.len(), theirs.len());
        assert!(ours == theirs, "{what}: audio differs: {lengths:?} packets, first difference at {at:?}");
    }

    /// Asserts that this is what a viewer sees who came in the middle: from one of the keyframes
    /// (`keys`: their places among the published pictures) to the end, complete.
    #[track_caller]
    pub fn assert_tail(&self, published: &Seen, keys_every: usize, grace: i64, what: &str) -> i64 {
        let first = self.video.first().unwrap_or_else(|| panic!("{what}: no video"));
        let at = published.video.iter().position(|packet| packet.hash == first.hash);
        let at = at.unwrap_or_else(|| panic!("{what}: the first picture was never published"));
        assert_eq!(at % keys_every, 0, "{what}: starts at picture {at}, which is no keyframe");
        let audio = self.audio.first().map_or(published.audio.len(), |first| {
            let here = published.audio.iter().position(|packet| packet.hash == first.hash);
            here.unwrap_or_else(|| panic!("{what}: the first audio was never published"))
        });
        // Nothing that belongs to the pictures may be missing at the start.
        let before = published.audio.iter().filter(|packet| packet.dts < published.video[at].dts).count();
        assert!(audio <= before + 1, "{what}: audio starts at {audio}, the pictures at audio {before}");
        self.assert_same(&published.from(at, audio), grace, what)
    }
}

/// What differs first, in words.
fn difference(ours: &[Packet], theirs: &[Packet], shift: i64, grace: i64) -> Option<String> {
    let fits = |a: &Packet, b: &Packet| {
        a.hash == b.hash && (a.dts - b.dts - shift).abs() <= grace && (a.pts - b.pts - shift).abs() <= grace
    };
    let at = ours.iter().zip(theirs).position(|(a, b)| !fits(a, b));
    if at.is_none() && ours.len() == theirs.len() {
        return None;
    }
    let at = at.unwrap_or(ours.len().min(theirs.len()));
    let mut text = format!("{} packets instead of {}, differing from {at} on", ours.len(), theirs.len());
    for (who, list) in [("received", ours), ("published", theirs)] {
        for (n, packet) in list.iter().enumerate().skip(at.saturating_sub(2)).take(6) {
            let ms = |ticks: i64| ticks as f64 / MS as f64;
            let _ =
                write!(text, "\n  {who} {n}: dts {} pts {} {}", ms(packet.dts), ms(packet.pts), packet.hash);
        }
    }
    Some(text)
}
