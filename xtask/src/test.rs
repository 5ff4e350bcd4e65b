use anyhow::Result;
pub fn all() -> Result<()> {
    Ok(())
}
pub fn measure() -> Result<()> {
    Ok(())
}
