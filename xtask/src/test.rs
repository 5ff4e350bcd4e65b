use anyhow::Result;
pub(crate) fn all() -> Result<()> {
    Ok(())
}
pub(crate) fn measure() -> Result<()> {
    Ok(())
}
