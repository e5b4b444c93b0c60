"""What is wanted: the models (`models`), and the one way in (`loader.load`). Below it nobody sees a dict."""
