"""x"""
def story_page(story): return str(story)
