"""Entry point of the app: page configuration and navigation, nothing else."""

from skinapp import ui

ui.configure()
ui.navigation().run()
