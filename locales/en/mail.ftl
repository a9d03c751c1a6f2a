# Texts of the mails. A value in { } is put in by the program.

direction = ltr

## Every mail

mail-unsubscribe = Unsubscribe
mail-preferences = Preferences
mail-web = Read on the web
mail-why = You receive this because you subscribed to { $newsletter } and confirmed it by a link.
mail-no-tracking = This email does not track you: no pixels, no rewritten links.
mail-sent-by = Sent by { $sender }

## Rhythms, as part of a sentence

cadence-immediate = as soon as an article appears
cadence-daily = once a day
cadence-weekly = once a week
cadence-monthly = once a month
cadence-off = not at all

## Confirmation of a sign-up

confirmation-subject = Please confirm your subscription to { $newsletter }
confirmation-title = One click, and you are in
confirmation-asked-at-page = Someone, hopefully you, entered this address at { $page } on { $at } to receive { $newsletter }.
confirmation-asked = Someone, hopefully you, entered this address on { $at } to receive { $newsletter }.
confirmation-of-sender = { $newsletter } by { $sender }
confirmation-what = What you would get
confirmation-how-often = It comes { $often }. You can leave with one click at any time.
confirmation-topics = Topics: { $topics }.
confirmation-button = Yes, send me { $newsletter }
confirmation-open = To confirm, open this link and press the button there:
confirmation-expires = The link works until { $until }.
confirmation-ignore = If it was not you, do nothing: nothing more is sent, and the address is forgotten.
confirmation-not-me = It was not me
confirmation-not-me-why = You can also tell us, so that nobody enters your address again:
confirmation-privacy = Privacy policy
confirmation-why = You receive this one message because this address was entered in a sign-up form.

## Welcome

welcome-subject = Welcome to { $newsletter }
welcome-title = You are subscribed
welcome-body = Thank you for confirming. { $newsletter } will come { $often }.
welcome-next = The first one leaves on { $at }, if there is something new by then.
welcome-contacts = So that it does not land among spam, add { $address } to your contacts.
welcome-latest = While you wait: the latest
welcome-change = Another rhythm, other topics, or enough? You can change it or leave whenever you like.
welcome-leave = Had enough one day? Every mail has a link that unsubscribes you at once.
welcome-button = Change my preferences

## Already subscribed

manage-subject = You are already subscribed to { $newsletter }
manage-title = You are already subscribed
manage-body = Someone, hopefully you, just asked to subscribe this address to { $newsletter }. It is subscribed already, so there is nothing to do.
manage-change = If you wanted to change something, your own page is here:
manage-leave = If you wanted to stop it, one click is enough:
manage-not-me = If it was not you, ignore this message. Nothing was changed.
manage-button = Open my preferences

## Digest

digest-count = { $count ->
    [one] 1 new article
   *[other] { $count } new articles
}
digest-subject-two = { $first } · { $second }
digest-subject-more = { $first } · { $second } · { $more } more
digest-more-headlines = More headlines
digest-more-on-site = { $count ->
    [one] and 1 more on the site
   *[other] and { $count } more on the site
}
digest-read = Read the article
digest-by = By { $author }

## Dates

weekday-1 = Monday
weekday-2 = Tuesday
weekday-3 = Wednesday
weekday-4 = Thursday
weekday-5 = Friday
weekday-6 = Saturday
weekday-7 = Sunday
month-1 = January
month-2 = February
month-3 = March
month-4 = April
month-5 = May
month-6 = June
month-7 = July
month-8 = August
month-9 = September
month-10 = October
month-11 = November
month-12 = December
date-long = { $weekday }, { $day } { $month } { $year }
date-short = { $day } { $month }
date-time = { $day } { $month } { $year }, { $time } { $zone }
