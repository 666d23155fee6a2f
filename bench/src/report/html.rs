use super::Report;
pub(crate) fn page(_report: &Report) -> String {
    String::new()
}
