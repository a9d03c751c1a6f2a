//! Dates in words, put together from texts so that each language has its own order.

use jiff::Zoned;

use super::Texts;

impl Texts {
    /// `Tuesday, 7 July 2026`.
    pub fn date_long(&self, locale: &str, at: &Zoned) -> String {
        self.dated(locale, "date-long", at)
    }

    /// `7 July`.
    pub fn date_short(&self, locale: &str, at: &Zoned) -> String {
        self.dated(locale, "date-short", at)
    }

    /// `7 July 2026, 07:00 CEST`.
    pub fn date_time(&self, locale: &str, at: &Zoned) -> String {
        self.dated(locale, "date-time", at)
    }

    fn dated(&self, locale: &str, key: &str, at: &Zoned) -> String {
        let weekday = format!("weekday-{}", at.weekday().to_monday_one_offset());
        let month = format!("month-{}", at.month());
        let args = [
            ("weekday", self.get(locale, &weekday, &[]).into()),
            ("month", self.get(locale, &month, &[]).into()),
            ("day", at.day().into()),
            // As text: a number may be given thousands separators.
            ("year", at.year().to_string().into()),
            ("time", at.strftime("%H:%M").to_string().into()),
            ("zone", at.strftime("%Z").to_string().into()),
        ];
        self.get(locale, key, &args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_words() {
        let texts = Texts::load().unwrap();
        let at: Zoned = "2026-07-07T07:00[Europe/Berlin]".parse().unwrap();
        assert_eq!(texts.date_long("en", &at), "Tuesday, 7 July 2026");
        assert_eq!(texts.date_short("en", &at), "7 July");
        assert_eq!(texts.date_time("en", &at), "7 July 2026, 07:00 CEST");
    }
}
