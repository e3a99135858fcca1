//! The report: one page of HTML, which needs no other file.
use anyhow::Result;
use minijinja::{AutoEscape, Environment, context};

use crate::section::Section;

/// Returns the page of the numbered sections.
pub(crate) fn page(sections: &[(u8, Section)]) -> Result<String> {
    let of_section = |(number, section): &(u8, Section)| {
        let chart = section.chart.as_ref();
        Ok(context! {
            number => number,
            title => section.title,
            paper => section.paper,
            headings => &section.headings,
            rows => &section.rows,
            svg => chart.map(|chart| chart.svg()).transpose()?,
            caption => chart.map(|chart| chart.caption()),
            findings => &section.findings,
            times => &section.times,
        })
    };
    let sections = sections.iter().map(of_section).collect::<Result<Vec<_>>>()?;
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    Ok(environment.render_str(include_str!("page.html"), context! { sections })?)
}
