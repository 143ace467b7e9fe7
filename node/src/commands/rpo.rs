//! `portolan rpo`: what would be lost with each region now, what nobody can read, and what is lost.

use super::terminal::{Colour, drawn_with, paint, say, table, to_the_right};
use super::top::words;
use crate::cli::AskArgs;
use crate::client::Client;
use crate::error::Failure;
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
    let mut text = rows(&["IF THIS REGION DIED NOW", "BLOBS LOST", "BYTES LOST", "OLDEST", "IMAGES"], &report.regions);
    for region in &report.regions {
        text.push_str(&named("only in", region));
    }
    text.push_str(&unreachable(report));
    text.push_str(&damaged(report));
    if report.incomplete {
        let note = "this may be less than the truth: the node that was asked has not looked at all blobs yet";
        text.push_str(&format!("\n\n{} {note}", paint("note:", Colour::Strong)));
    }
    text
}

/// A table with a row per region.
fn rows(heads: &[&str], regions: &[RegionRpo]) -> String {
    let mut rows = table(heads);
    for region in regions {
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
    to_the_right(&mut rows, 1..heads.len());
    drawn_with(&rows, |row| regions.get(row).is_some_and(|region| region.blobs > 0))
}

/// The images of one region, when there are any.
fn named(what: &str, region: &RegionRpo) -> String {
    if region.images.is_empty() {
        return String::new();
    }
    let mut text = format!("\n\n{what} {}:", region.region);
    for image in region.images.iter().take(SHOWN) {
        text.push_str(&format!("\n  {image}"));
    }
    let more = region.images.len().saturating_sub(SHOWN) as u64 + region.more_images;
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

/// What nobody can read, when there is anything.
fn unreachable(report: &RpoReport) -> String {
    let mut text = match report.unreachable_blobs {
        0 => return String::new(),
        1 => "\n\n1 blob cannot be read: no node that has it answers".to_owned(),
        blobs => format!("\n\n{blobs} blobs cannot be read: no node that has them answers"),
    };
    if report.unreachable.is_empty() {
        return text;
    }
    let heads = ["READABLE WITH THIS REGION BACK", "BLOBS", "BYTES", "OLDEST", "IMAGES"];
    text.push_str(&format!("\n\n{}", rows(&heads, &report.unreachable)));
    for region in &report.unreachable {
        text.push_str(&named("not to be read without", region));
    }
    text
}

/// What is lost, when anything is.
fn damaged(report: &RpoReport) -> String {
    let mut text = match report.damaged_blobs {
        0 => return String::new(),
        1 => "\n\n1 blob has no copy left; pushing its image again mends it:".to_owned(),
        blobs => format!("\n\n{blobs} blobs have no copy left; pushing their images again mends them:"),
    };
    for damaged in &report.damaged {
        text.push_str(&format!("\n  {}  {}", damaged.image, damaged.digest));
    }
    text.push_str(match (report.damaged.is_empty(), report.all_damaged_named) {
        (true, true) => "\n  no image has them: they were uploaded and no manifest names them",
        (_, false) => "\n  and more: there were too many to look at",
        (false, true) => "",
    });
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

    fn report(regions: Vec<RegionRpo>) -> RpoReport {
        RpoReport {
            regions,
            unreachable_blobs: 0,
            unreachable_bytes: 0,
            unreachable: Vec::new(),
            damaged_blobs: 0,
            damaged: Vec::new(),
            all_damaged_named: true,
            incomplete: false,
        }
    }

    /// Without the spaces at the end of lines.
    fn trimmed(text: &str) -> String {
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_would_be_lost_is_a_table_and_the_names_of_the_images() {
        let want = " IF THIS REGION DIED NOW  BLOBS LOST  BYTES LOST  OLDEST  IMAGES
 ap-south                          0         0 B       -       0
 eu-west                           3      3.0 MB      4s       2

only in eu-west:
  team/app:v0
  team/app:v1";
        let report = report(vec![region("ap-south", 0, 0, 0), region("eu-west", 3, 2, 0)]);
        assert_eq!(trimmed(&render(&report)), want);
    }

    #[test]
    fn what_nobody_can_read_is_told_with_the_regions_to_bring_back() {
        let unreachable = vec![region("eu-west", 3, 1, 0), region("us-east", 1, 0, 0)];
        let regions = vec![region("ap-south", 0, 0, 0)];
        let report = RpoReport { unreachable_blobs: 3, unreachable, ..report(regions) };
        let want = " IF THIS REGION DIED NOW  BLOBS LOST  BYTES LOST  OLDEST  IMAGES
 ap-south                          0         0 B       -       0

3 blobs cannot be read: no node that has them answers

 READABLE WITH THIS REGION BACK  BLOBS   BYTES  OLDEST  IMAGES
 eu-west                             3  3.0 MB      4s       1
 us-east                             1  1.0 MB      4s       0

not to be read without eu-west:
  team/app:v0";
        assert_eq!(trimmed(&render(&report)), want);
        let unknown = RpoReport { unreachable_blobs: 1, unreachable: Vec::new(), ..report };
        assert!(render(&unknown).ends_with("\n\n1 blob cannot be read: no node that has it answers"));
    }

    #[test]
    fn many_images_are_counted_and_damaged_ones_named() {
        let digest = Digest::sha256_of(b"x");
        let damaged = vec![DamagedImage { image: "team/app:v0".to_owned(), digest }];
        let regions = vec![region("eu", 9, 12, 100)];
        let report = RpoReport { damaged_blobs: 1, damaged, incomplete: true, ..report(regions) };
        let text = render(&report);
        assert!(text.contains("at least 112") && text.contains("\n  and 102 more"), "{text}");
        assert!(text.contains("1 blob has no copy left") && text.contains(&format!("team/app:v0  {digest}")), "{text}");
        assert!(text.contains("note: this may be less"), "{text}");
    }

    #[test]
    fn damaged_images_that_are_not_named_are_not_hidden() {
        let lost = |all_damaged_named| RpoReport { damaged_blobs: 2, all_damaged_named, ..report(Vec::new()) };
        assert!(render(&lost(true)).ends_with("no image has them: they were uploaded and no manifest names them"));
        assert!(render(&lost(false)).ends_with("mends them:\n  and more: there were too many to look at"));
    }
}
