//! The report as a picture: a bar of events a second for each row, with its spread.

use super::{Report, Row};
use std::fmt::Write as _;

const LEFT: f64 = 300.0;
const WIDTH: f64 = 420.0;
const ROW: f64 = 26.0;
const TOP: f64 = 44.0;

/// An SVG that needs no font or script but what every viewer has.
pub(crate) fn svg(report: &Report) -> String {
    let most = report.rows.iter().map(|row| row.rate().most).fold(1.0, f64::max);
    let rows: f64 = report.rows.iter().map(|_| ROW).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\">Events a second: median, least to most</text>\n",
        TOP + rows + 12.0
    );
    let mut top = TOP;
    for row in &report.rows {
        svg.push_str(&bar(row, top, WIDTH / most));
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(row: &Row, top: f64, scale: f64) -> String {
    let rate = row.rate();
    let (middle, text) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0);
    let colour = if row.scenario.contender.is_worker() { "#b7410e" } else { "#8a94a0" };
    let (least, most) = (LEFT + rate.least * scale, LEFT + rate.most * scale);
    let mut bar = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        bar,
        "<text x=\"{:.0}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LEFT:.0}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\
         <path d=\"M{least:.1} {middle:.1}H{most:.1}\" stroke=\"#222\"/>\
         <text x=\"{:.1}\" y=\"{text:.1}\">{:.0}</text>",
        LEFT - 8.0,
        row.title(),
        top + 4.0,
        rate.median * scale,
        ROW - 8.0,
        most + 6.0,
        rate.median,
    );
    bar
}
