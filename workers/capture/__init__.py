"""Capture: one dashboard, rendered once, as PDF, image and tables, with a verdict per panel.

`browser` keeps Chromium and one event loop; `take` tells one capture from top to bottom; `page`
has its steps on the page; `gateway` answers the page's requests from here, so that the token
never enters the browser; the `.js` files run in the page; `prepare`, `facts`, `paper`,
`readiness` and `verdict` decide and do no I/O.
"""
