//! One part of the timeline, and what all drawings share: places and colours.

use super::figures::Report;
use maud::{Markup, html};

/// A share of the width.
pub(super) fn percent(part: f64) -> String {
    let text = format!("{:.3}", part * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// One part of the timeline: its title with a legend, what stands left of the axis, and what is drawn.
pub(super) struct Lane {
    pub(super) title: &'static str,
    pub(super) unit: String,
    /// Classes and names.
    pub(super) legend: Vec<(String, String)>,
    pub(super) height: usize,
    pub(super) gutter: Markup,
    pub(super) plot: Markup,
}

impl Lane {
    pub(super) fn draw(&self) -> Markup {
        html! {
            div class="lane" {
                div class="title" {
                    b { (self.title) }
                    @if !self.unit.is_empty() { span class="unit" { (self.unit) } }
                    span class="key" {
                        @for (class, name) in &self.legend { span { i class=(class) {} (name) } }
                    }
                }
                div class="row" {
                    svg class="gutter" height=(self.height) { (self.gutter) }
                    svg class="plot" height=(self.height) { (self.plot) }
                }
            }
        }
    }
}

/// How many colours there are for regions.
pub(super) const REGIONS: usize = 6;

/// The class that colours a node's region.
pub(super) fn region_class(report: &Report, node: usize) -> String {
    let name = report.nodes.get(node).map(|node| &node.region);
    let place = report.series.regions.iter().position(|region| Some(&region.region) == name);
    format!("region{}", place.unwrap_or_default() % REGIONS)
}

/// The class that colours a kind of fault: the same in drawings and tables.
pub(super) fn kind_class(report: &Report, kind: &str) -> String {
    let place = report.impacts.iter().position(|impact| impact.kind == kind).unwrap_or_default();
    format!("kind{}", place % 8)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_are_short() {
        assert_eq!([0.0, 0.5, 1.0, 1.0 / 3.0, 0.00001].map(percent), ["0%", "50%", "100%", "33.333%", "0.001%"]);
    }
}
