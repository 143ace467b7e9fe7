//! The tables of the page.

use super::figures::Report;
use super::impact::Impact;
use super::lane::kind_class;
use super::{calls, words};
use crate::history::Record;
use maud::{Markup, html};

/// More calls than this are no history that anyone reads.
const MOST_CALLS: usize = 100;

/// A line for each kind of fault, and one for the time between them.
#[must_use]
pub(super) fn impacts(report: &Report) -> Markup {
    html! {
        @if report.impacts.is_empty() {
            p { "Nothing was broken in this run." }
        }
        div class="scroll" {
            table class="impacts" {
                thead {
                    tr {
                        th rowspan="2" { "fault" }
                        th rowspan="2" { "times" }
                        th colspan="2" class="group" { "failed" }
                        th colspan="2" class="group" { "longest gap without acknowledged" }
                        th rowspan="2" { "writes back after its end" }
                        th rowspan="2" { "RTO" }
                        th rowspan="2" { "lost writes" }
                    }
                    tr { th { "pulls" } th { "pushes" } th { "pulls" } th { "writes" } }
                }
                tbody {
                    @for impact in &report.impacts {
                        tr {
                            td { i class=(kind_class(report, &impact.kind)) {} (words::clean(&impact.kind)) }
                            td { (words::count(impact.times)) }
                            (failed(impact))
                            td { (two_lines(&impact.back_in_words())) }
                            td { (impact.rto_in_words()) }
                            td class=[impact.lost.filter(|lost| *lost > 0).map(|_| "broken")] { (impact.lost_in_words()) }
                        }
                    }
                    tr class="soft" {
                        td { (report.calm.kind) }
                        td {}
                        (failed(&report.calm))
                        td {} td {} td {}
                    }
                }
            }
        }
        p class="note" {
            "A call counts for a fault when it was under way at some moment of it. A gap is that of all clients together; in \
             brackets that of the clients of the region where it was longest. RTO: the longest \
             time that the clients of a region waited for an acknowledged write, from the beginning of the fault on, or from its \
             end where the region was stopped or cut off from every majority. The last line is the time when nothing was broken, to compare with."
        }
    }
}

fn failed(impact: &Impact) -> Markup {
    let cell = |failed: usize, all: usize| {
        html! {
            td {
                (words::count(failed))
                @if failed > 0 { " " span class="soft" { (words::share(failed, all)) } }
            }
        }
    };
    html! {
        (cell(impact.failed_pulls, impact.pulls))
        (cell(impact.failed_pushes, impact.pushes))
        td { (two_lines(&impact.pull_gap.in_words())) }
        td { (two_lines(&impact.write_gap.in_words())) }
    }
}

/// What is in brackets goes below.
fn two_lines(text: &str) -> Markup {
    let text = words::clean(text);
    let (first, second) = text.split_at(text.find(" (").unwrap_or(text.len()));
    html! { (first) @if !second.is_empty() { span class="soft below" { (second) } } }
}

/// A line for each invariant.
#[must_use]
pub(super) fn verdicts(report: &Report) -> Markup {
    let verdicts = report.verdicts();
    html! {
        @if verdicts.is_empty() {
            p { "No invariant was judged." }
        } @else {
            div class="scroll" {
                table class="verdicts" {
                    thead { tr { th { "invariant" } th { "promise" } th { "verdict" } th { "calls judged" } } }
                    tbody {
                        @for (judged, times) in &verdicts {
                            tr {
                                td { (words::clean(&judged.invariant)) }
                                td { (words::clean(&judged.promise)) }
                                @if *times == 0 && judged.calls == 0 {
                                    td { "nothing to judge" }
                                } @else if *times == 0 {
                                    td class="held" { "held" }
                                } @else {
                                    td class="broken" { "broken " a href=(first(report, &judged.invariant)) { (times) " ×" } }
                                }
                                td { (words::count(judged.calls)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn first(report: &Report, invariant: &str) -> String {
    let place = report.run.violations.iter().position(|violation| violation.invariant == invariant);
    format!("#violation-{}", place.unwrap_or_default() + 1)
}

/// The calls of a violation, numbered as in its drawing.
#[must_use]
pub(super) fn calls(report: &Report, records: &[Record]) -> Markup {
    html! {
        @if records.is_empty() {
            p class="note" { "No single call shows it." }
        } @else {
            div class="scroll" {
                table class="calls" {
                    thead {
                        tr {
                            th { "#" } th { "client" } th { "node" } th { "start" } th { "end" } th { "call" } th { "answer" }
                        }
                    }
                    tbody {
                        @for (place, record) in records.iter().take(MOST_CALLS).enumerate() {
                            tr {
                                td { (place + 1) }
                                td { (record.client) " " span class="soft" { (words::clean(&record.region)) } }
                                td { (words::clean(&report.node(record.node))) }
                                td { (words::moment(record.start)) }
                                td { (words::moment(record.end)) }
                                td title=(words::clean(record.call.digest().unwrap_or_default())) { (calls::asked(&record.call)) }
                                td { i class=(calls::tone(record)) {} (calls::answered(record)) }
                            }
                        }
                    }
                }
            }
            @if records.len() > MOST_CALLS {
                p class="note" { "The first " (MOST_CALLS) " of " (words::count(records.len())) " calls." }
            }
        }
    }
}
