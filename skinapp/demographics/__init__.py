"""Who is in a data set: tables, selections, statistics, a visitor's own table, limitations. May import
`skinapp.inference` and everything that it may import.
"""
