//! Figures of a run: how they come from times, and how they are shown.

use std::time::Duration;

/// In milliseconds. The times are sorted.
pub(super) fn percentile(times: &[Duration], percent: usize) -> f64 {
    let place = times.get(times.len() * percent / 100).or_else(|| times.last());
    place.map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Figures as a table for people: what each is, what it is here, and its aim.
pub(super) fn table(
    rows: impl IntoIterator<Item = (&'static str, Option<f64>, &'static str)>,
    decimals: usize,
    flags: &[&str],
) -> String {
    let mut table = format!("{:<48}{:>14}{:>18}\n", "", "here", "aim");
    for (what, here, aim) in rows {
        let here = here.map_or_else(|| String::from("-"), |figure| format!("{figure:.decimals$}"));
        table.push_str(&format!("{what:<48}{here:>14}{aim:>18}\n"));
    }
    if !flags.is_empty() {
        table.push_str(&format!("the site's flags: {}\n", flags.join(" ")));
    }
    table
}
