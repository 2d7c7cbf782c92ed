//! Reports as Markdown in a folder, with their plots beside them.

use super::plot::{self, Ratio};
use super::{RunReport, mib};
use crate::times::Percentiles;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Writes `report.md` and its plots: one run.
pub(crate) fn write_run(folder: &Path, title: &str, report: &RunReport) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut text = format!("# {title}\n\n```\n{report}\n```\n\n{}\n", groups_table(report));
    if !report.seconds.is_empty() {
        plot::seconds(&folder.join("seconds.svg"), &report.seconds)?;
        text += "![the run, second by second](seconds.svg)\n";
    }
    let curves = [("latency", &report.latency_curve), ("first picture", &report.first_picture_curve)];
    for (name, curve) in curves.into_iter().filter(|(_, curve)| !curve.is_empty()) {
        let file = format!("{}.svg", name.replace(' ', "-"));
        plot::curves(&folder.join(&file), &format!("{name}, ms"), &[(name.into(), curve.clone())])?;
        let _ = writeln!(text, "\n![{name}]({file})");
    }
    fs::write(folder.join("report.md"), text)
}

fn groups_table(report: &RunReport) -> String {
    let mut text = String::from(
        "| players | readers | URL | first picture p50 / p99 ms | all have one | latency p50 / p99 ms | gaps |\n\
         |--:|---|---|--:|--:|--:|--:|\n",
    );
    for group in &report.players {
        let _ = writeln!(
            text,
            "| {} | {} | `{}` | {} | {} | {} | {} |",
            group.players,
            group.readers,
            group.url,
            two(&group.first_picture),
            group.all_pictures_seconds.map_or("–".into(), |s| format!("{s:.2} s")),
            two(&group.latency),
            group.gaps_over_2s.map_or("–".into(), |gaps| gaps.to_string()),
        );
    }
    text
}

fn two(p: &Percentiles) -> String {
    match (p.p50_ms, p.p99_ms) {
        (Some(p50), Some(p99)) => format!("{p50:.1} / {p99:.1}"),
        _ => "–".into(),
    }
}

/// Writes `report.md` and its plots: a comparison whose table and ratios are given, and the last run of each server.
pub(crate) fn write_comparison(
    folder: &Path,
    title: &str,
    table: &str,
    ratios: &[Ratio],
    runs: &[(String, &RunReport)],
) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    plot::ratios(&folder.join("ratios.svg"), title, ratios)?;
    let mut text = format!("# {title}\n\n{table}\n\n![ratios: median, least and greatest](ratios.svg)\n");
    let curves: Vec<_> = runs.iter().map(|(name, run)| (name.clone(), run.latency_curve.clone())).collect();
    if curves.iter().any(|(_, curve)| !curve.is_empty()) {
        plot::curves(&folder.join("latency.svg"), "latency in the last round, ms", &curves)?;
        text += "\n![latency](latency.svg)\n";
    }
    for (i, (name, run)) in runs.iter().enumerate() {
        let file = format!("seconds-{}.svg", i + 1);
        plot::seconds(&folder.join(&file), &run.seconds)?;
        let end =
            run.server.map_or(String::new(), |s| format!(", {:.1} MiB resident", mib(s.memory.rss_bytes)));
        let _ = writeln!(text, "\n{name}, last round{end}:\n\n![{name}]({file})");
    }
    fs::write(folder.join("report.md"), text)
}
