//! Clips to publish, made once per test binary by the current ffmpeg.

use super::packets::{Form, Has, Seen};
use super::tool::{Tool, new_ffmpeg};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

/// Pictures per second.
pub const FPS: usize = 25;
/// A keyframe each second.
pub const GOP: usize = 25;

/// What a clip is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    pub video: Option<Video>,
    pub audio: Option<Audio>,
    pub seconds: u32,
    pub size: (u32, u32),
    /// 0: whatever the encoder takes at constant quality.
    pub video_kbps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Video {
    /// With two B-frames.
    H264,
    /// With two B-frames.
    Hevc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audio {
    Aac,
    Mp3,
}

impl Recipe {
    /// 320×180.
    pub const fn new(video: Option<Video>, audio: Option<Audio>, seconds: u32) -> Recipe {
        Recipe { video, audio, seconds, size: (320, 180), video_kbps: 0 }
    }

    /// H.264 with B-frames, and AAC.
    pub const fn usual(seconds: u32) -> Recipe {
        Recipe::new(Some(Video::H264), Some(Audio::Aac), seconds)
    }

    /// The clip, as an FLV file.
    pub fn clip(self) -> Arc<Clip> {
        type Made = HashMap<Recipe, Arc<OnceLock<Arc<Clip>>>>;
        static MADE: OnceLock<Mutex<Made>> = OnceLock::new();
        let cell = {
            let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner());
            Arc::clone(made.entry(self).or_default())
        };
        Arc::clone(cell.get_or_init(|| Arc::new(Clip::make(self))))
    }
}

/// An FLV file.
#[derive(Debug)]
pub struct Clip {
    pub recipe: Recipe,
    pub path: String,
}

impl Clip {
    fn make(recipe: Recipe) -> Clip {
        let Recipe { video, audio, seconds, size: (width, height), video_kbps } = recipe;
        let folder = std::env::temp_dir().join(format!("srs-shard-clips-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let name = format!("{video:?}-{audio:?}-{seconds}-{width}x{height}-{video_kbps}.flv");
        let path: PathBuf = folder.join(name.replace(['(', ')'], ""));
        let path = path.to_str().expect("a plain path").to_owned();
        let picture = format!("testsrc2=s={width}x{height}:r={FPS}:d={seconds}");
        let sound = format!("sine=f=440:r=44100:d={seconds}");
        let rate = format!("{video_kbps}k");
        let mut line = vec!["-hide_banner", "-loglevel", "error", "-y"];
        if video.is_some() {
            line.extend(["-f", "lavfi", "-i", &picture]);
        }
        if audio.is_some() {
            line.extend(["-f", "lavfi", "-i", &sound]);
        }
        match video {
            Some(Video::H264) => {
                line.extend(["-c:v", "libx264", "-sc_threshold", "0", "-g", "25", "-bf", "2"])
            }
            Some(Video::Hevc) => line.extend([
                "-c:v",
                "libx265",
                "-x265-params",
                "keyint=25:min-keyint=25:scenecut=0:bframes=2:open-gop=0:log-level=error",
            ]),
            None => {}
        }
        if video.is_some() {
            line.extend(["-pix_fmt", "yuv420p", "-preset", "ultrafast"]);
            // ultrafast means no B-frames unless told.
            line.extend(if video == Some(Video::H264) { ["-b_strategy", "0"] } else { ["-forced-idr", "1"] });
            if video_kbps > 0 {
                line.extend(["-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate]);
                if video == Some(Video::H264) {
                    line.extend(["-x264-params", "nal-hrd=cbr:force-cfr=1"]);
                }
            }
        }
        match audio {
            Some(Audio::Aac) => line.extend(["-c:a", "aac", "-b:a", "48k", "-ac", "2"]),
            Some(Audio::Mp3) => line.extend(["-c:a", "libmp3lame", "-b:a", "48k", "-ac", "2"]),
            None => {}
        }
        line.push(&path);
        Tool::start(new_ffmpeg(), &line).finished();
        Clip { recipe, path }
    }

    /// Which tracks it has.
    pub fn has(&self) -> Has {
        Has { video: self.recipe.video.is_some(), aac: self.recipe.audio == Some(Audio::Aac) }
    }

    /// Its packets in a form.
    pub fn seen(&self, form: Form) -> Seen {
        // The clip is FLV, whatever the other side is.
        let form = match form {
            Form::AnnexB { hevc, .. } => Form::AnnexB { hevc, from_ts: false },
            Form::Whole | Form::RawAac => Form::Whole,
        };
        let seen = Seen::of_file(new_ffmpeg(), &self.path, form, self.has());
        let pictures = if self.recipe.video.is_some() { FPS * self.recipe.seconds as usize } else { 0 };
        assert_eq!(seen.video.len(), pictures, "{}", self.path);
        assert!(self.recipe.video.is_none() || seen.video.iter().any(|p| p.pts != p.dts), "no B-frames");
        seen
    }

    /// Its audio alone.
    pub fn audio(&self) -> Seen {
        Seen { video: Vec::new(), ..self.seen(Form::Whole) }
    }
}
