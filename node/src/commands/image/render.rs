//! An image in words. Pure.

use crate::commands::terminal::{Colour, drawn_with, paint, table, to_the_right};
use crate::commands::top::words;
use portolan_registry::{ImageRegion, ImageReport};

/// How many lost blobs are named.
const SHOWN: usize = 5;

/// How much of a digest tells it from others.
const SHORT: usize = "sha256:".len() + 12;

/// An image and the manifest that it means.
pub(super) fn called(image: &str, report: &ImageReport) -> String {
    let digest = report.digest.to_string();
    if image.contains(&digest) { image.to_owned() } else { format!("{image} ({})", &digest[..SHORT.min(digest.len())]) }
}

/// A count of things.
fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Everything about an image, as a text of several lines.
pub(super) fn table_of(report: &ImageReport) -> String {
    let mark = if report.reference.contains(':') { '@' } else { ':' };
    let mut text = format!(
        "{}{mark}{}   {}   {}, {}, {}\n\n",
        report.repository,
        report.reference,
        report.digest,
        counted(report.manifests, "manifest"),
        counted(report.blobs, "blob"),
        words::bytes(report.bytes as f64)
    );
    let mut rows = table(&["REGION", "COPIES", "DURABLE", "THERE", "MISSING", "ARRIVED", "RATE", "READY IN", "FROM"]);
    for region in &report.regions {
        rows.add_row(row(region, report.blobs));
    }
    to_the_right(&mut rows, 1..8);
    text.push_str(&drawn_with(&rows, |row| report.regions.get(row).is_some_and(|region| !region.done)));
    if let Some(lost) = lost(report) {
        text.push_str(&format!("\n\n{lost}"));
    }
    text
}

fn row(region: &ImageRegion, blobs: u64) -> Vec<String> {
    let dash = || "-".to_owned();
    let missing = region.missing_bytes > 0;
    vec![
        region.region.clone(),
        if region.copies == 0 { "none".to_owned() } else { region.copies.to_string() },
        format!("{} of {blobs}", region.blobs),
        words::bytes(region.bytes as f64),
        if missing { words::bytes(region.missing_bytes as f64) } else { dash() },
        if missing { words::bytes(region.received_bytes as f64) } else { dash() },
        if region.bytes_per_second > 0 {
            format!("{}/s", words::bytes(region.bytes_per_second as f64))
        } else {
            dash()
        },
        region.eta_ms.map_or_else(dash, words::age),
        if region.sources.is_empty() { dash() } else { region.sources.join(", ") },
    ]
}

/// The blobs that have no copy left, when there are any.
pub(super) fn lost(report: &ImageReport) -> Option<String> {
    if report.lost_blobs == 0 {
        return None;
    }
    let mut text = format!(
        "{} {} no copy left anywhere: push the image again",
        paint("damaged:", Colour::Bad),
        if report.lost_blobs == 1 { "1 blob has".to_owned() } else { format!("{} blobs have", report.lost_blobs) }
    );
    for digest in report.lost.iter().take(SHOWN) {
        text.push_str(&format!("\n  {digest}"));
    }
    if report.lost_blobs > SHOWN as u64 {
        text.push_str(&format!("\n  and {} more", report.lost_blobs - SHOWN as u64));
    }
    Some(text)
}

/// One region in a line, for logs.
pub(super) fn line(region: &ImageRegion, blobs: u64) -> String {
    let all = region.bytes + region.missing_bytes;
    let mut text = format!(
        "{}: {} of {blobs} blobs, {} of {}",
        region.region,
        region.blobs,
        words::bytes((region.bytes + region.received_bytes) as f64),
        words::bytes(all as f64)
    );
    if region.bytes_per_second > 0 {
        text.push_str(&format!(", {}/s", words::bytes(region.bytes_per_second as f64)));
    }
    if let Some(eta_ms) = region.eta_ms {
        text.push_str(&format!(", ready in {}", words::age(eta_ms)));
    }
    if !region.sources.is_empty() {
        text.push_str(&format!(", from {}", region.sources.join(", ")));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::{called, line, table_of};
    use portolan_oci::Digest;
    use portolan_registry::{ImageRegion, ImageReport};

    fn region(name: &str, copies: u32, blobs: u64, missing_bytes: u64) -> ImageRegion {
        let coming = missing_bytes > 0;
        ImageRegion {
            region: name.to_owned(),
            copies,
            done: !coming,
            blobs,
            bytes: 120_000_000 - missing_bytes,
            missing_bytes,
            received_bytes: if coming { 42_000_000 } else { 0 },
            bytes_per_second: if coming { 12_000_000 } else { 0 },
            eta_ms: coming.then_some(4_800),
            sources: if coming { vec!["eu-west-1".to_owned()] } else { Vec::new() },
        }
    }

    pub(in crate::commands::image) fn report() -> ImageReport {
        ImageReport {
            repository: "team/app".to_owned(),
            reference: "v1".to_owned(),
            digest: Digest::sha256_of(b"x"),
            manifests: 1,
            blobs: 7,
            bytes: 120_000_000,
            done: false,
            lost_blobs: 0,
            lost: Vec::new(),
            regions: vec![
                region("ap-south", 0, 7, 0),
                region("eu-west", 1, 7, 0),
                region("us-east", 1, 3, 100_000_000),
            ],
        }
    }

    #[test]
    fn each_region_is_a_line_of_a_table() {
        let digest = Digest::sha256_of(b"x");
        let want = format!(
            "\
team/app:v1   {digest}   1 manifest, 7 blobs, 120 MB

 REGION    COPIES  DURABLE   THERE  MISSING  ARRIVED     RATE  READY IN  FROM
 ap-south    none   7 of 7  120 MB        -        -        -         -  -
 eu-west        1   7 of 7  120 MB        -        -        -         -  -
 us-east        1   3 of 7   20 MB   100 MB    42 MB  12 MB/s        4s  eu-west-1"
        );
        let got = table_of(&report());
        let got: Vec<&str> = got.lines().map(str::trim_end).collect();
        assert_eq!(got.join("\n"), want);
    }

    #[test]
    fn a_line_says_how_far_a_region_is() {
        let got = line(&report().regions[2], 7);
        assert_eq!(got, "us-east: 3 of 7 blobs, 62 MB of 120 MB, 12 MB/s, ready in 4s, from eu-west-1");
        assert_eq!(line(&report().regions[1], 7), "eu-west: 7 of 7 blobs, 120 MB of 120 MB");
    }

    #[test]
    fn lost_blobs_are_named_up_to_a_few() {
        let mut damaged = report();
        damaged.lost_blobs = 7;
        damaged.lost = (0..7_u8).map(|seed| Digest::sha256_of(&[seed])).collect();
        let text = table_of(&damaged);
        assert!(text.contains("7 blobs have no copy left") && text.ends_with("and 2 more"), "{text}");
        assert!(text.contains(&damaged.lost[4].to_string()) && !text.contains(&damaged.lost[5].to_string()), "{text}");
    }

    #[test]
    fn a_tag_is_told_with_what_it_means() {
        let (report, digest) = (report(), Digest::sha256_of(b"x").to_string());
        assert_eq!(called("team/app:v1", &report), format!("team/app:v1 ({})", &digest[..19]));
        let by_digest = format!("team/app@{digest}");
        assert_eq!(called(&by_digest, &report), by_digest);
    }
}
