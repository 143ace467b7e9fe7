//! `portolan rpo`: what would be lost with each region now.

use super::terminal::{Colour, paint, say, table};
use super::top::words;
use crate::cli::AskArgs;
use crate::client::Client;
use crate::error::Failure;
use comfy_table::CellAlignment;
use portolan_registry::{RegionRpo, RpoReport};

/// How many images are printed per region; the JSON has more.
const SHOWN: usize = 10;

/// Prints it.
///
/// # Errors
/// When the node does not answer.
pub(crate) async fn run(args: &AskArgs) -> Result<(), Failure> {
    let client = Client::of(&args.server)?;
    let (report, json) = client.read::<RpoReport>("/api/v1/rpo").await?;
    say(&if args.json { json.trim_end().to_owned() } else { render(&report) })?;
    Ok(())
}

/// The report as a text of several lines.
fn render(report: &RpoReport) -> String {
    let mut rows = table(&["IF THIS REGION DIED NOW", "BLOBS LOST", "BYTES LOST", "OLDEST", "IMAGES"]);
    for region in &report.regions {
        let images = region.images.len() as u64 + region.more_images;
        let at_least = if region.all_named { "" } else { "at least " };
        rows.add_row([
            region.region.clone(),
            region.blobs.to_string(),
            words::bytes(region.bytes as f64),
            region.oldest_ms.map_or_else(|| "-".to_owned(), words::age),
            format!("{at_least}{images}"),
        ]);
    }
    for column in 1..5 {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let rows = rows.trim_fmt();
    let mut lines = rows.lines();
    let mut text = paint(lines.next().unwrap_or_default(), Colour::Strong);
    for (line, region) in lines.zip(&report.regions) {
        text.push('\n');
        text.push_str(&if region.blobs == 0 { line.to_owned() } else { paint(line, Colour::Bad) });
    }
    for region in report.regions.iter().filter(|region| !region.images.is_empty()) {
        text.push_str(&named(region));
    }
    text.push_str(&damaged(report));
    if report.incomplete {
        let note = "this may be less than the truth: the node that was asked has not looked at all blobs yet";
        text.push_str(&format!("\n\n{} {note}", paint("note:", Colour::Strong)));
    }
    text
}

/// The images of one region.
fn named(region: &RegionRpo) -> String {
    let mut text = format!("\n\nonly in {}:", region.region);
    for image in region.images.iter().take(SHOWN) {
        text.push_str(&format!("\n  {image}"));
    }
    let more = region.images.len().saturating_sub(SHOWN) as u64 + region.more_images;
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

fn damaged(report: &RpoReport) -> String {
    let mut text = match report.damaged_blobs {
        0 => return String::new(),
        1 => "\n\n1 blob has no copy left; pushing its image again mends it:".to_owned(),
        blobs => format!("\n\n{blobs} blobs have no copy left; pushing their images again mends them:"),
    };
    for damaged in &report.damaged {
        text.push_str(&format!("\n  {}  {}", damaged.image, damaged.digest));
    }
    if report.damaged.is_empty() {
        text.push_str("\n  no image has them: they were uploaded and no manifest names them");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::render;
    use portolan_oci::Digest;
    use portolan_registry::{DamagedImage, RegionRpo, RpoReport};

    fn region(name: &str, blobs: u64, images: usize, more_images: u64) -> RegionRpo {
        RegionRpo {
            region: name.to_owned(),
            blobs,
            bytes: blobs * 1_000_000,
            oldest_ms: (blobs > 0).then_some(4_200),
            images: (0..images).map(|index| format!("team/app:v{index}")).collect(),
            more_images,
            all_named: more_images < 100,
        }
    }

    #[test]
    fn what_would_be_lost_is_a_table_and_the_names_of_the_images() {
        let regions = vec![region("ap-south", 0, 0, 0), region("eu-west", 3, 2, 0)];
        let report = RpoReport { regions, damaged_blobs: 0, damaged: Vec::new(), incomplete: false };
        let want = " IF THIS REGION DIED NOW  BLOBS LOST  BYTES LOST  OLDEST  IMAGES
 ap-south                          0         0 B       -       0
 eu-west                           3      3.0 MB      4s       2

only in eu-west:
  team/app:v0
  team/app:v1";
        let got = render(&report);
        let got: Vec<&str> = got.lines().map(str::trim_end).collect();
        assert_eq!(got.join("\n"), want);
    }

    #[test]
    fn many_images_are_counted_and_damaged_ones_named() {
        let digest = Digest::sha256_of(b"x");
        let damaged = vec![DamagedImage { image: "team/app:v0".to_owned(), digest }];
        let report = RpoReport { regions: vec![region("eu", 9, 12, 100)], damaged_blobs: 1, damaged, incomplete: true };
        let text = render(&report);
        assert!(text.contains("at least 112") && text.contains("\n  and 102 more"), "{text}");
        assert!(text.contains("1 blob has no copy left") && text.contains(&format!("team/app:v0  {digest}")), "{text}");
        assert!(text.contains("note: this may be less"), "{text}");
    }
}
