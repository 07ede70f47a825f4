"""Capture: one dashboard, rendered once, as PDF, image and tables, with a verdict per panel.

`browser` owns Chromium and one event loop; `gateway` answers the page's requests from here, so
that the token never enters the browser; `page` takes the steps on the page; the `.js` files run
in it; `prepare`, `paper` and `verdict` decide and do no I/O.
"""
